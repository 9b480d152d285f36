//! Every declared setting is complete: key, flag, variable, help.

use super::*;

#[test]
fn a_setting_has_a_flag_a_variable_and_help() {
    let declared = declared();
    assert_eq!(declared.get_arguments().count(), 22);
    for arg in declared.get_arguments() {
        let key = arg.get_id().as_str();
        let flag = arg.get_long().unwrap_or_else(|| panic!("{key}: no flag"));
        let dashed = key.replace('_', "-");
        let negated = format!("no-{dashed}");
        let table = dashed.split('.').next().unwrap().to_owned();
        let in_table = dashed.split('.').next_back().unwrap().to_owned();
        assert!(
            [dashed, negated, table, in_table].contains(&flag.to_owned()),
            "{key}"
        );
        let capitals = key.replace('.', "_").to_uppercase();
        let variable = arg.get_env().and_then(|variable| variable.to_str());
        assert_eq!(variable, Some(&*format!("ASTRA_EDGE_{capitals}")), "{key}");
        let help = arg.get_help().map(ToString::to_string);
        assert!(help.is_some_and(|help| !help.is_empty()), "{key}: no help");
    }
}

#[test]
fn no_flags_and_no_file_are_the_same() {
    let empty = read("").unwrap();
    assert_eq!(empty, flags(&[]));
    assert_eq!(empty.network, Network::default());
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    for (text, at, nearest) in [
        ("thread = 2", "line 1, thread", "`threads`"),
        (
            "\nall-members = true",
            "line 2, all-members",
            "`all_members`",
        ),
        (
            "[http]\nlistn = \"8080\"",
            "line 2, http.listn",
            "`http.listen`",
        ),
        ("[htp]\nlisten = \"8080\"", "line 1, htp", "`http.listen`"),
    ] {
        let error = read(text).unwrap_err().to_string();
        let expected = format!(
            ": {at}: unknown field: found `{}`",
            at.rsplit(' ').next().unwrap()
        );
        assert!(error.contains(&expected), "{error}");
        assert!(
            error.contains(&format!(", expected {nearest}; all")),
            "{error}"
        );
    }
    let error = read("zzz = 1").unwrap_err().to_string();
    assert!(
        error.contains("found `zzz`, expected one of `name`, "),
        "{error}"
    );
}

#[test]
fn values_of_another_shape_are_refused() {
    for (text, reason) in [
        (
            "threads = \"two\"",
            "line 1, threads: found \"two\", expected a number from 0",
        ),
        (
            "threads = -1",
            "line 1, threads: found \"-1\", expected a number from 0",
        ),
        (
            "multicast = \"maybe\"",
            "line 1, multicast: found \"maybe\", expected true or false",
        ),
        (
            "listen = \"127.0.0.1\"",
            "line 1, listen: found string, expected a list such as [\"a\", \"b\"]",
        ),
        (
            "name = [\"a\"]",
            "line 1, name: found array, expected one value",
        ),
        (
            "bundle = \"\"",
            "line 1, bundle: found \"\", expected a value",
        ),
        (
            "rung = [160]",
            "line 1, rung: found array, expected one value",
        ),
        (
            "execution_providers = [\"cpu\", \"gpu\"]",
            "line 1, execution_providers: execution provider \"gpu\": expected one of tensorrt, cuda, xnnpack, cpu",
        ),
        (
            "http = 8080",
            "line 1, http: unknown field: found `http`, expected `http.listen`",
        ),
        ("name = \"a\"\nname = \"b\"", "line 2, name: duplicate key"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(&format!(": {reason}")), "{error}");
    }
}

#[test]
fn an_empty_folder_of_weights_is_none() {
    let folder = |text: &str| read(text).unwrap().engine.weights_cache();
    assert_eq!(folder("weights_cache = \"\""), None);
    assert_eq!(folder("weights_cache = \"w\""), Some("w".into()));
    let config = flags(&["--weights-cache", ""]);
    assert_eq!(config.engine.weights_cache(), None);
}
