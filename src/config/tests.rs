use std::path::Path;

use clap::Parser as _;

use super::{
    sources::{listen_addr, parse_file},
    *,
};
use crate::{
    app::{
        Noticed, Notices,
        keymap::{Action, Context},
    },
    model::JoinTarget,
};

fn load(words: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
    let cli = Cli::try_parse_from([&["pyile"], words].concat()).unwrap();
    let get =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let file = File { name: "config.toml", text: file };
    resolve(&cli, &get, Some(file), Some("/data".into()))
}

#[test]
fn defaults() {
    let config = load(&[], &[("USER", "ann")], "").unwrap();
    assert_eq!(config.mode, Mode::Launch);
    assert_eq!(config.alias.as_str(), "ann");
    assert_eq!((config.host.listen, default_listen().to_string().as_str()), (None, "0.0.0.0:4702"));
    assert_eq!((config.host.attempts, config.host.members), (3, 250));
    assert_eq!(config.rejoin_for.as_secs(), 86_400);
    assert_eq!(config.profile_dir, Path::new("/data/default"));
    assert!(config.password.is_none() && config.screen.color && !config.json);
}

#[test]
fn flag_then_environment_then_file_then_default() {
    let file = "alias = 'file'\nattempts = 7\nlisten = '[::]:5000'";
    let environment = [("PYILE_ALIAS", "env"), ("USER", "user")];
    let config = load(&["host", "--alias", "flag"], &environment, file).unwrap();
    assert_eq!((config.alias.as_str(), config.host.attempts), ("flag", 7));
    assert_eq!(config.host.listen.unwrap().to_string(), "[::]:5000");
    assert_eq!(load(&[], &environment, file).unwrap().alias.as_str(), "env");
    assert_eq!(load(&[], &[("USER", "user")], file).unwrap().alias.as_str(), "file");
    let config = load(&["host", "127.0.0.1:5001"], &[], file).unwrap();
    assert_eq!(config.host.listen.unwrap().to_string(), "127.0.0.1:5001", "as join takes it");
    let config = load(&["host", "--listen", "[::]"], &[], file).unwrap();
    assert_eq!(config.host.listen.unwrap().to_string(), "[::]:4702");
}

#[test]
fn options_may_stand_before_and_after_the_command() {
    for words in [["--json", "join", "example.org"], ["join", "example.org", "--json"]] {
        let config = load(&words, &[], "").unwrap();
        assert!(config.json);
        assert_eq!(
            config.mode,
            Mode::Join(JoinTarget::Host("example.org".into()), crate::model::Wire::Native)
        );
    }
}

#[test]
fn a_bad_value_says_where_what_and_what_is_allowed() {
    for (words, environment, file, message) in [
        (
            &["--attempts", "many"][..],
            &[][..],
            "",
            "command line: --attempts is \"many\"; a whole number from 1 to 1000 is allowed",
        ),
        (
            &[],
            &[("PYILE_MEMBERS", "5000")],
            "",
            "environment: PYILE_MEMBERS is \"5000\"; a whole number from 2 to 1000 is allowed",
        ),
        (
            &[],
            &[],
            "attempts = 0",
            "config.toml: attempts is \"0\"; a whole number from 1 to 1000 is allowed",
        ),
        (
            &[],
            &[],
            "alias = 'a b'",
            "config.toml: alias is \"a b\"; an alias has no spaces; use - or _ instead",
        ),
        (&[], &[], "json = true", "config.toml: there is no key \"json\""),
        (
            &[],
            &[],
            "alias = [1]",
            "config.toml: alias is [1]; a text, a whole number, or true or false is allowed",
        ),
        (&["--profile", "../../etc"], &[], "", "command line: --profile is \"../../etc\""),
        (&["--peer-listen", "here"], &[], "", "command line: --peer-listen is \"here\"; an address and port"),
        (&["--log-level", "loud"], &[], "", "command line: --log-level is \"loud\"; error, warn"),
        (&["--password-file", "/nowhere"], &[], "", "cannot read /nowhere"),
    ] {
        let error = load(words, environment, file).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    assert!(parse_file(File { name: "config.toml", text: "alias = " }).is_err());
}

#[test]
fn the_password_is_never_on_the_command_line_nor_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    fs::write(&path, "from file\nsecond line\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let environment = [("PYILE_PASSWORD", "from env")];
    let config = load(&["--password-file", path.to_str().unwrap()], &environment, "").unwrap();
    assert_eq!(config.password, Some(Password::new("from file".into())));
    assert!(!format!("{config:?}").contains("from file"));
    let config = load(&[], &environment, "").unwrap();
    assert_eq!(config.password, Some(Password::new("from env".into())));
    assert!(Cli::try_parse_from(["pyile", "--password", "x"]).is_err());
    fs::write(&path, "\n").unwrap();
    assert!(load(&["--password-file", path.to_str().unwrap()], &[], "").is_err());
}

#[test]
fn what_no_shell_has_read_is_expanded_or_refused_and_becomes_no_directory() {
    let environment = [("USER", "ann"), ("HOME", "/own"), ("STATE", "/var/state")];
    for (value, meant) in [
        ("~/chat", "/own/chat"),
        ("~", "/own"),
        ("$STATE/chat", "/var/state/chat"),
        ("${STATE}2/$USER.d", "/var/state2/ann.d"),
        ("/plain/a~b", "/plain/a~b"),
    ] {
        let config = load(&[], &environment, &format!("data_dir = '{value}'")).unwrap();
        assert_eq!(config.profile_dir, Path::new(meant).join("default"), "{value}");
        let config = load(&["--data-dir", value], &environment, "").unwrap();
        assert_eq!(config.profile_dir, Path::new(meant).join("default"), "{value}");
    }
    for value in ["~bob/chat", "$NOWHERE/chat", "${STATE/chat", "$/chat", "a$"] {
        let error = load(&[], &environment, &format!("log_file = '{value}'")).unwrap_err().to_string();
        assert!(error.contains("log_file") && error.contains(value), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_unicode_is_that_path() {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::OsStr::from_bytes(b"/data/caf\xe9");
    let words = [std::ffi::OsStr::new("pyile"), std::ffi::OsStr::new("--data-dir"), name];
    let cli = Cli::try_parse_from(words).unwrap();
    let config = resolve(&cli, &|name| (name == "USER").then(|| "ann".to_owned()), None, None).unwrap();
    assert_eq!(config.profile_dir, Path::new(name).join("default"));
}

#[test]
fn where_letters_of_the_world_are_not_shown_it_is_drawn_in_ascii_and_said_why() {
    let why = |environment: &[(&str, &str)]| {
        load(&[], &[&[("USER", "ann")], environment].concat(), "").unwrap().screen.only_ascii
    };
    for fine in [
        &[][..],
        &[("LANG", "de_DE.UTF-8")],
        &[("LANG", "C.utf8")],
        &[("LC_ALL", "en_US.UTF-8"), ("LANG", "C")],
        &[("LC_ALL", ""), ("LC_CTYPE", "UTF-8"), ("LANG", "C")],
    ] {
        assert_eq!(why(fine), None, "{fine:?}");
    }
    for (poor, word) in [
        (&[("LANG", "C")][..], "locale C "),
        (&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "de_DE@euro")], "de_DE@euro"),
        (&[("TERM", "dumb")], "dumb"),
    ] {
        assert!(why(poor).is_some_and(|why| why.contains(word)), "{poor:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_zone_may_be_the_name_of_an_interface() {
    for text in ["fe80::1%lo", "[fe80::1%lo]", "[fe80::1%lo]:4702"] {
        let addr = listen_addr(text, 4702).unwrap();
        assert_eq!(addr.to_string(), "[fe80::1%1]:4702", "{text}");
    }
    assert_eq!(listen_addr("fe80::1%nowhere0", 4702), None);
}

#[test]
fn themes_of_ones_own_stand_in_the_file_and_what_is_wrong_in_them_is_named() {
    use ratatui::style::Color;
    let file = "theme = 'mine'\n[themes.mine]\nbase = 'dark'\naccent = '#88c0d0'\nnicks = ['blue', 'light-green', '215']";
    let themes = load(&[], &[], file).unwrap().screen.themes;
    assert_eq!((themes.shown.name.as_str(), themes.names()[0].as_str()), ("mine", "mine"));
    assert_eq!(themes.shown.accent, Some(Color::Rgb(0x88, 0xc0, 0xd0)));
    assert_eq!(
        themes.shown.nicks[1..4],
        [Some(Color::LightGreen), Some(Color::Indexed(215)), Some(Color::Blue)]
    );
    for (file, message) in [
        (
            "theme = 'pink'",
            "config.toml: theme is \"pink\"; default, light, dark, high-contrast, mono, ascii is allowed",
        ),
        ("[themes.mine]\nbase = 'pink'", "config.toml: themes.mine.base is \"pink\"; default, light"),
        (
            "[themes.mine]\naccent = 'sky'",
            "config.toml: themes.mine.accent is \"sky\"; a colour such as cyan",
        ),
        (
            "[themes.mine]\nnicks = []",
            "config.toml: themes.mine.nicks is []; a list of 1 to 8 colours is allowed",
        ),
        (
            "[themes.mine]\nback = 'red'",
            "config.toml: there is no key \"themes.mine.back\"; the keys are base, accent",
        ),
        ("themes = 3", "config.toml: themes is 3; a table such as [themes.NAME] is allowed"),
    ] {
        let error = load(&[], &[], file).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn keys_and_notices_stand_in_the_file_and_what_cannot_be_is_named() {
    let file = "notify = 'all'\nnotify_text = false\nmouse = true\n[keys]\nsearch = 'Ctrl-G'\nreply = []\nlog = ['F5', 'F6']";
    let config = load(&[], &[], file).unwrap();
    assert_eq!(config.screen.notices, Notices { of: Noticed::Everything, has_text: false, bell: true });
    assert!(config.screen.mouse && !load(&[], &[], "").unwrap().screen.mouse);
    let key = |action| config.screen.keymap.key(&[Context::Room, Context::Browse], action);
    assert_eq!(key(Action::Search).as_deref(), Some("Ctrl-G"));
    assert_eq!(key(Action::ViewLog).as_deref(), Some("F5"));
    assert_eq!(key(Action::Reply), None);
    for (file, message) in [
        ("[keys]\nsearch = 'Ctrl-O'", "config.toml: keys.search is Ctrl-O; Ctrl-O does go-to there"),
        ("[keys]\nsearch = 'Hyper-X'", "config.toml: keys.search is \"Hyper-X\"; a key such as"),
        ("[keys]\nfly = 'x'", "config.toml: keys.fly is no action; the actions are admin,"),
        ("[keys]\nserach = 'x'", "config.toml: keys.serach is no action; there is search"),
        ("[keys]\nsearch = 3", "config.toml: keys.search is 3; a key such as"),
        ("keys = 'vi'", "config.toml: keys is \"vi\"; a table such as [keys]"),
        ("notify = 'some'", "config.toml: notify is \"some\"; mentions, all or off is allowed"),
    ] {
        let error = load(&[], &[], file).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
