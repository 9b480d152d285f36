use clap::ArgMatches;

use super::*;
use crate::link::InterfaceSetting;

mod declaration;
mod precedence;
mod template;

fn read(text: &str) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::read(file.path())
}

/// The command line as `run` has it, without this process's environment.
fn given(flags: &[&str]) -> ArgMatches {
    let command = declared::without_environment();
    command.try_get_matches_from(flags).unwrap()
}

/// Settings of a device that gets these flags and no file.
fn flags(flags: &[&str]) -> Config {
    use clap::FromArgMatches;
    Config::from_arg_matches(&given(flags)).unwrap()
}

/// The same with those that let it start here.
fn with_bundle(more: &[&str]) -> Config {
    let interface = ["--bundle", "bundle", "--multicast-interface", "127.0.0.1"];
    flags(&[&interface, more].concat())
}

/// Whether a line is a setting or begins a table, commented out or not.
fn is_setting(line: &str) -> bool {
    let line = line.trim_start_matches("# ");
    let is_key = |key: &str| {
        key.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| is_key(key))
}

#[test]
fn the_example_reads_and_says_what_holds_anyway() {
    let text = include_str!("../../../deploy/device.toml");
    let as_shipped = read(text).unwrap();
    let all: Vec<&str> = text
        .lines()
        .filter(|line| is_setting(line))
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let everything = read(&all.join("\n")).unwrap();
    assert_eq!(everything.defaults.rung, Some(Rung(320)));
    assert_eq!(everything.defaults.quality.to_string(), "0.99");
    assert_eq!(everything.defaults.deadline, Duration::from_secs(5));
    assert_eq!(everything.network.cluster, DEFAULT_CLUSTER);
    assert_eq!(everything.log, DEFAULT_LOG);
    assert!(everything.network.multicast);
    assert!(everything.engine.prepacking);
    assert_eq!(everything.engine.execution_providers, [Provider::Cpu]);
    for key in [
        "name",
        "cluster",
        "key",
        "key_file",
        "connect",
        "multicast",
        "multicast_interface",
        "listen",
        "bundle",
        "onnxruntime",
        "threads",
        "execution_providers",
        "prepacking",
        "weights_cache",
        "quality",
        "rung",
        "deadline",
        "max_members",
        "all_members",
        "log",
    ] {
        assert!(
            all.iter()
                .any(|line| line.starts_with(&format!("{key} = "))),
            "{key} is missing"
        );
    }
    let http = all.iter().position(|line| *line == "[http]").unwrap();
    assert_eq!(http, 20, "{all:?}");
    assert_eq!(
        all[http + 1..],
        [
            "listen = \"127.0.0.1:8080\"",
            "allow_host = [\"chat.example.org\"]"
        ]
    );
    assert_eq!(everything.http.listen.as_deref(), Some("127.0.0.1:8080"));
    assert!(as_shipped.bundle.is_some());
}

#[test]
fn an_unknown_key_is_named_with_the_file_and_the_known_ones() {
    let error = read("name = \"a\"\nbundel = \"b\"\n")
        .unwrap_err()
        .to_string();
    for part in ["/", "line 2", "bundel", "`bundle`", "`max_members`"] {
        assert!(error.contains(part), "{part} not in {error}");
    }
    assert!(error.contains(": line 2, bundel: unknown field"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    let error = Config::read(Path::new("/no/such/file.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/no/such/file.toml: "), "{error}");
}

#[test]
fn values_of_another_kind_are_refused() {
    for (text, part) in [
        ("threads = \"two\"", "threads"),
        ("deadline = \"soon\"", "soon"),
        ("deadline = \"0s\"", "1 ms"),
        ("rung = \"most\"", "exact"),
        ("rung = 0", "exact"),
        (
            "quality = 1.5",
            "found \"1.5\", expected a number above 0 and at most 1",
        ),
        ("quality = \"good\"", "above 0"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(error.contains(": line 1, "), "{error}");
    }
    let defaults = |text: &str| read(text).unwrap().defaults;
    assert_eq!(defaults("rung = 160").rung, Some(Rung(160)));
    assert_eq!(defaults("rung = \"exact\"").rung, Some(Rung(0)));
    assert_eq!(defaults("quality = 0.95").quality.to_string(), "0.95");
    assert_eq!(defaults("quality = 1").quality.to_string(), "1");
    let half = defaults("deadline = \"500ms\"").deadline;
    assert_eq!(half, Duration::from_millis(500));
}

#[test]
fn an_impossible_value_of_a_file_is_named_with_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    for (text, rest) in [
        (
            "listen = [\"kitchen\"]",
            "line 1, listen: found \"kitchen\", expected ADDRESS or ADDRESS:PORT, such as 192.168.1.20:7447",
        ),
        (
            "cluster = \"a/b\"",
            "line 1, cluster: found \"a/b\", expected 1 to 64 letters, digits, dots, dashes or underscores",
        ),
        (
            "name = \"\"",
            "line 1, name: found \"\", expected 1 to 64 bytes of text",
        ),
        (
            "[http]\nallow_host = [\"http://kitchen\"]",
            "line 2, http.allow_host: found \"http://kitchen\", expected a name without scheme and port, such as chat.example.org",
        ),
        (
            "[http]\nlisten = \"kitchen\"",
            "line 2, http.listen: found \"kitchen\", expected ADDRESS:PORT or a port, such as 127.0.0.1:8080",
        ),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let error = Config::read(file.path()).unwrap_err().to_string();
        assert_eq!(error, format!("{path}: {rest}"));
    }
}

#[test]
fn the_command_line_beats_the_file() {
    let text = "name = \"file\"\nkey_file = \"secret\"\nlisten = [\"127.0.0.1:1\"]\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let given = given(&["--name", "flag", "--key", "k"]);
    let effective = Effective::new(&given, Some(file.path())).unwrap();
    let both = effective.config();
    assert_eq!(both.name.as_deref(), Some("flag"));
    assert_eq!(both.listen, ["127.0.0.1:1"]);
    let network = &both.network;
    assert_eq!(
        (network.key.as_deref(), &network.key_file),
        (Some("k"), &None)
    );
}

#[test]
fn gaps_are_filled() {
    let settings = with_bundle(&[]).settings().unwrap();
    assert_eq!(settings.link.cluster.to_string(), "astra");
    let addresses = settings.link.addresses;
    assert!(addresses.multicast && addresses.listen.is_empty());
    assert_eq!(
        addresses.interface,
        InterfaceSetting::Address("127.0.0.1".parse().unwrap())
    );
    assert_eq!(settings.defaults.rung, None);
    assert_eq!(settings.defaults.quality.to_string(), "0.99");
    assert!(settings.key.is_empty());
    assert!(!settings.name.is_empty());
}

#[test]
fn the_system_chooses_an_address_where_none_is_given() {
    let open = |text: &str| {
        let text = format!("bundle = \"bundle\"\n{text}");
        read(&text)
            .unwrap()
            .settings()
            .unwrap()
            .link
            .addresses
            .is_automatic()
    };
    for text in ["", "multicast_interface = \"auto\"", "multicast = false"] {
        assert!(open(text), "{text}");
    }
    for text in [
        "multicast_interface = \"wlan0\"",
        "listen = [\"192.168.1.20\"]",
    ] {
        assert!(!open(text), "{text}");
    }
}

#[test]
fn impossible_values_are_named() {
    let error = |flags: &[&str]| with_bundle(flags).settings().unwrap_err().to_string();
    assert!(error(&["--listen", "kitchen"]).contains("\"kitchen\""));
    assert!(error(&["--listen", "0.0.0.0:7447"]).contains("one interface"));
    let name = "x".repeat(65);
    assert!(error(&["--name", &name]).contains("1 to 64 bytes"));
    assert!(error(&["--cluster", "a/b"]).contains("\"a/b\""));
    let mut two = with_bundle(&["--key", "k"]);
    two.network.key_file = Some("f".into());
    assert!(matches!(two.settings(), Err(ConfigError::TwoKeys)));
}

#[test]
fn http_is_served_where_it_is_asked_for() {
    let at = |listen: Option<&str>| {
        let mut config = with_bundle(&[]);
        config.http.listen = listen.map(str::to_owned);
        config.settings().map(|settings| settings.http)
    };
    assert_eq!(at(None).unwrap(), None);
    let local = Some("127.0.0.1:8080".parse().unwrap());
    assert_eq!(at(Some("127.0.0.1:8080")).unwrap(), local);
    assert_eq!(at(Some("8080")).unwrap(), local);
    assert_eq!(
        at(Some("[::1]:0")).unwrap(),
        Some("[::1]:0".parse().unwrap())
    );
    let error = at(Some("kitchen")).unwrap_err().to_string();
    assert!(
        error.contains("\"kitchen\"") && error.contains("8080"),
        "{error}"
    );
}

#[test]
fn a_key_file_loses_its_last_newline() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "secret\n").unwrap();
    let mut config = with_bundle(&[]);
    config.network.key_file = Some(file.path().to_owned());
    let settings = config.settings().unwrap();
    assert_eq!(settings.key, b"secret");
}
