use proptest::prelude::*;

use super::*;

fn clean(raw: &str) -> String {
    SafeText::clean(raw).to_string()
}

#[test]
fn hostile_characters_become_visible_marks() {
    for (raw, shown) in [
        ("\x1b[31mred", "␛[31mred"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("a\u{202E}b", "a\u{FFFD}b"),
        ("zero\u{200B}width", "zero\u{FFFD}width"),
        ("tag\u{E0041}", "tag\u{FFFD}"),
        ("c1\u{9b}31m", "c1\u{FFFD}31m"),
        ("del\x7f", "del␡"),
        ("a\tb", "a    b"),
        ("one\r\ntwo\rthree\u{2028}four", "one\ntwo\nthree\nfour"),
    ] {
        assert_eq!(clean(raw), shown, "{raw:?}");
    }
}

#[test]
fn scripts_and_emoji_keep_their_joiners() {
    for text in
        ["👩\u{200D}👩\u{200D}👧", "❤\u{FE0F}", "می\u{200C}خواهم", "🏳\u{FE0F}\u{200D}🌈", "naïve 日本語"]
    {
        assert_eq!(clean(text), text);
    }
    assert_eq!(clean("a\u{200D}b"), "a\u{FFFD}b", "a joiner between Latin letters only hides");
}

#[test]
fn a_tall_stack_of_accents_is_cut() {
    let tall = format!("a{}b", "\u{301}".repeat(10_000));
    let text = clean(&tall);
    assert_eq!(text.chars().count(), CLUSTER_SCALARS + 2);
    assert!(text.ends_with("\u{FFFD}b"));
}

#[test]
fn a_line_has_no_line_breaks() {
    assert_eq!(SafeText::line("a\r\nb\nc").as_str(), "a b c");
}

proptest! {
    #[test]
    fn cleaning_is_idempotent_and_leaves_nothing_hostile(raw in any::<String>(), nasty in "[a\u{301}\u{200d}\u{200c}\u{fe0f}\u{202e}\x1b\r\n👩🏳]{0,60}") {
        for raw in [raw, nasty] {
            let once = clean(&raw);
            prop_assert_eq!(&clean(&once), &once);
            for c in once.chars() {
                prop_assert!(c == '\n' || !c.is_control(), "{:?}", c);
                let joiner = matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE0E}' | '\u{FE0F}');
                prop_assert!(joiner || !is_invisible(c), "{:?}", c);
            }
        }
    }
}
