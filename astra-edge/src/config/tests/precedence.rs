//! A flag wins over the file and the file over the default; errors name where a value comes from. Variables are tested with the
//! program: tests of one process share its environment.

use super::*;

struct Written(tempfile::NamedTempFile);

impl Written {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn with(&self, flags: &[&str]) -> Result<Effective, ConfigError> {
        Effective::new(&given(flags), Some(self.0.path()))
    }

    fn at(&self, line: usize) -> Origin {
        Origin::File {
            path: self.0.path().to_owned(),
            line,
        }
    }
}

fn setting<'a>(effective: &'a Effective, key: &str) -> &'a Setting {
    let mut settings = effective.settings().iter();
    settings.find(|setting| setting.key == key).unwrap()
}

#[test]
fn every_value_tells_its_source() {
    let file = Written::new(
        "threads = 2\nmulticast = false\nall_members = true\n\
         connect = [\"a:1\", \"b:2\"]\nrung = \"exact\"\n[http]\nlisten = \"8080\"\n",
    );
    let effective = file.with(&["--threads", "3", "--no-prepacking"]).unwrap();
    let config = effective.config();
    assert_eq!(config.engine.threads, 3);
    assert!(!config.network.multicast && !config.engine.prepacking);
    assert!(config.defaults.all_members);
    assert_eq!(config.network.connect, ["a:1", "b:2"]);
    assert_eq!(config.defaults.rung, Some(Rung(0)));
    assert_eq!(config.defaults.deadline, Duration::from_secs(5));
    for (key, value, origin) in [
        ("threads", "3", Origin::Flag("--threads".to_owned())),
        (
            "prepacking",
            "false",
            Origin::Flag("--no-prepacking".to_owned()),
        ),
        ("multicast", "false", file.at(2)),
        ("all_members", "true", file.at(3)),
        ("connect", "[\"a:1\", \"b:2\"]", file.at(4)),
        ("rung", "\"exact\"", file.at(5)),
        ("http.listen", "\"8080\"", file.at(7)),
        ("deadline", "\"5s\"", Origin::Default),
        ("listen", "[]", Origin::Default),
    ] {
        let setting = setting(&effective, key);
        assert_eq!(setting.origin, origin, "{key}");
        assert_eq!(setting.value.as_ref().unwrap().to_string(), value, "{key}");
    }
    let name = setting(&effective, "name");
    assert!(name.value.is_some() && name.origin == Origin::Default);
    assert_eq!(setting(&effective, "onnxruntime").value, None);
}

#[test]
fn a_list_of_flags_replaces_the_list_of_the_file() {
    let file =
        Written::new("connect = [\"a:1\", \"b:2\"]\nexecution_providers = [\"cuda\", \"cpu\"]\n");
    let effective = file
        .with(&["--connect", "c:3", "--connect", "d:4"])
        .unwrap();
    assert_eq!(effective.config().network.connect, ["c:3", "d:4"]);
    let providers = &effective.config().engine.execution_providers;
    assert_eq!(providers, &[Provider::Cuda, Provider::Cpu]);
}

#[test]
fn a_key_of_a_flag_leaves_the_key_file_of_the_file_out() {
    let file = Written::new("key_file = \"secret\"\n");
    let effective = file.with(&["--key", "k"]).unwrap();
    let key = setting(&effective, "key");
    assert!(key.is_secret && key.value.is_some());
    let key_file = setting(&effective, "key_file");
    assert_eq!(
        (&key_file.value, &key_file.origin),
        (&None, &Origin::Default)
    );
}

#[test]
fn impossible_values_name_their_source() {
    let file = Written::new("name = \"\"\nlisten = [\"attic\"]\n");
    let path = file.0.path().display();
    let error = file.with(&["--listen", "kitchen"]).unwrap_err();
    let expected = "expected ADDRESS or ADDRESS:PORT, such as 192.168.1.20:7447";
    assert_eq!(
        error.to_string(),
        format!("--listen: found \"kitchen\", {expected}")
    );
    let error = file.with(&[]).unwrap_err();
    let at = "line 2, listen: found \"attic\"";
    assert_eq!(error.to_string(), format!("{path}: {at}, {expected}"));
    let error = file.with(&["--listen", "127.0.0.1"]).unwrap_err();
    let at = "line 1, name: found \"\"";
    assert_eq!(
        error.to_string(),
        format!("{path}: {at}, expected 1 to 64 bytes of text")
    );
}
