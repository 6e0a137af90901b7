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
fn what_belongs_to_writing_is_text_and_what_hides_or_reorders_is_marked() {
    for text in [
        "ᠮᠣᠩᠭᠣᠯ\u{180B} ᠬᠠ\u{180E}ᠠ",
        "葛\u{E0100}飾",
        "0\u{FE00} ≨\u{FE00}",
        "ကျွန်တော်\u{200B}သည်",
        "ភាសា\u{200B}ខ្មែរ",
        "Donau\u{AD}dampf\u{AD}schiff",
        "שלום!\u{200F} (C++)\u{200E}",
        "\u{200E}+49 30 1234",
        "\u{61C}١٢٣",
        "\u{0600}١٢",
        "क्\u{200D}ष",
        "ශ්\u{200D}රී",
        "נּ\u{034F}ּ",
    ] {
        assert_eq!(clean(text), text);
    }
    for (raw, shown) in [
        // A selector more is a letter of a hidden text.
        ("a\u{FE01}\u{FE02}", "a\u{FE01}\u{FFFD}"),
        ("😀\u{E0101}", "😀\u{FFFD}"),
        ("a\u{180B}", "a\u{FFFD}"),
        ("\u{AD}a", "\u{FFFD}a"),
        ("a\u{200E}\u{200E}b", "a\u{200E}\u{FFFD}b"),
        ("a\u{2066}b\u{2069}", "a\u{FFFD}b\u{FFFD}"),
        ("a\u{2063}b", "a\u{FFFD}b"),
        ("\u{3164}", "\u{FFFD}"),
        ("\u{FEFF}a", "\u{FFFD}a"),
    ] {
        assert_eq!(clean(raw), shown, "{raw:?}");
    }
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
    fn cleaning_is_idempotent_and_leaves_nothing_hostile(raw in any::<String>(), nasty in "[a葛ᠮ\u{301}\u{ad}\u{180b}\u{200b}\u{200d}\u{200c}\u{200e}\u{fe00}\u{fe0f}\u{e0100}\u{202e}\x1b\r\n👩🏳]{0,60}") {
        for raw in [raw, nasty] {
            let once = clean(&raw);
            prop_assert_eq!(&clean(&once), &once);
            for c in once.chars() {
                prop_assert!(c == '\n' || !c.is_control(), "{:?}", c);
                let hostile = matches!(c,
                    '\u{115F}'..='\u{1160}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
                    | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}');
                prop_assert!(!hostile, "{:?}", c);
            }
        }
    }
}
