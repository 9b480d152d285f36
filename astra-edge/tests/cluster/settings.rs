//! Settings of a device as the program takes them: flag, variable, file, default. No device is started.

use std::process::Command;

use astra_edge::config::declared;
use clap::{Arg, ArgAction};
use serde_json::{Value, json};

use crate::device::{CommandOutput, astra_edge, run};

/// The program without the settings in the environment of the tests.
fn program() -> Command {
    let mut command = astra_edge();
    for arg in declared().get_arguments() {
        command.env_remove(arg.get_env().unwrap());
    }
    command.args(["run", "--print-settings"]);
    command
}

fn settings(command: &mut Command) -> Value {
    let output = run(command.arg("--json"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// A value that a setting can have and does not have by default, as text and as a settings file has it.
fn other_value(arg: &Arg) -> (&'static str, Value) {
    match (arg.get_id().as_str(), arg.get_action()) {
        (_, ArgAction::SetTrue) => ("true", json!(true)),
        (_, ArgAction::SetFalse) => ("false", json!(false)),
        ("execution_providers", _) => ("cuda,cpu", json!(["cuda", "cpu"])),
        ("listen" | "connect", _) => (
            "127.0.0.1:1,127.0.0.2:2",
            json!(["127.0.0.1:1", "127.0.0.2:2"]),
        ),
        ("http.allow_host", _) => ("pi.lan,nas", json!(["pi.lan", "nas"])),
        ("threads" | "max_members" | "rung", _) => ("3", json!(3)),
        ("quality", _) => ("0.95", json!(0.95)),
        ("deadline", _) => ("700ms", json!("700ms")),
        ("http.listen", _) => ("127.0.0.1:9", json!("127.0.0.1:9")),
        ("key", _) => ("other", json!("(hidden)")),
        _ => ("other", json!("other")),
    }
}

#[test]
fn each_setting_is_taken_from_flag_variable_and_file() {
    let defaults = settings(&mut program());
    let declared = declared();
    assert_eq!(
        defaults.as_object().unwrap().len(),
        declared.get_arguments().count()
    );
    for arg in declared.get_arguments() {
        let key = arg.get_id().as_str();
        let (text, value) = other_value(arg);
        let default = &defaults[key];
        assert_eq!(default["source"], "default", "{key}");
        assert_ne!(default["value"], value, "{key}");

        let flag = format!("--{}", arg.get_long().unwrap());
        let mut command = program();
        command.arg(&flag);
        if arg.get_action().takes_values() {
            command.arg(text);
        }
        let expected = json!({ "value": value, "source": "flag", "at": flag });
        assert_eq!(settings(&mut command)[key], expected);

        let variable = arg.get_env().unwrap();
        let found = settings(program().env(variable, text));
        let expected = json!({ "value": value, "source": "environment", "at": variable.to_str() });
        assert_eq!(found[key], expected);

        let file = tempfile::NamedTempFile::new().unwrap();
        let written = if key == "key" {
            json!(text)
        } else {
            value.clone()
        };
        std::fs::write(file.path(), format!("# Its settings.\n{key} = {written}\n")).unwrap();
        let found = settings(program().arg("--config").arg(file.path()));
        let at = format!("{}: line 2, {key}", file.path().display());
        let expected = json!({ "value": value, "source": "file", "at": at });
        assert_eq!(found[key], expected);
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "threads = 1\nmulticast = false\nall_members = true\ncluster = \"file\"\nkey_file = \"file\"\n";
    std::fs::write(file.path(), text).unwrap();
    let with_file = || {
        let mut command = program();
        command.arg("--config").arg(file.path());
        command
    };
    let variables = [
        ("ASTRA_EDGE_THREADS", "2"),
        ("ASTRA_EDGE_MULTICAST", "true"),
        ("ASTRA_EDGE_ALL_MEMBERS", "false"),
        ("ASTRA_EDGE_KEY", "variable"),
    ];
    let found = settings(with_file().envs(variables));
    let value = |key: &str| (found[key]["value"].clone(), found[key]["source"].clone());
    assert_eq!(value("threads"), (json!(2), json!("environment")));
    assert_eq!(value("multicast"), (json!(true), json!("environment")));
    assert_eq!(value("all_members"), (json!(false), json!("environment")));
    assert_eq!(value("cluster"), (json!("file"), json!("file")));
    assert_eq!(value("key"), (json!("(hidden)"), json!("environment")));
    assert_eq!(value("key_file"), (Value::Null, json!("default")));

    let flags = [
        "--threads",
        "3",
        "--no-multicast",
        "--all-members",
        "--key-file",
        "flag",
    ];
    let found = settings(with_file().envs(variables).args(flags));
    let value = |key: &str| (found[key]["value"].clone(), found[key]["source"].clone());
    assert_eq!(value("threads"), (json!(3), json!("flag")));
    assert_eq!(value("multicast"), (json!(false), json!("flag")));
    assert_eq!(value("all_members"), (json!(true), json!("flag")));
    assert_eq!(value("key_file"), (json!("flag"), json!("flag")));
    assert_eq!(value("key"), (Value::Null, json!("default")));
}

#[test]
fn printed_settings_are_a_settings_file() {
    let mut command = program();
    command.args([
        "--threads",
        "3",
        "--http",
        "8080",
        "--connect",
        "a:1",
        "--key",
        "secret",
    ]);
    let output = run(command.env("ASTRA_EDGE_CLUSTER", "lab"));
    assert!(
        output.status.success() && !output.stdout.contains("secret"),
        "{output:?}"
    );
    let line = |start: &str| {
        let mut lines = output.stdout.lines();
        lines
            .find(|line| line.starts_with(start))
            .unwrap()
            .to_owned()
    };
    assert!(line("threads = 3 ").ends_with(" # --threads"), "{output:?}");
    assert!(
        line("cluster = \"lab\" ").ends_with(" # ASTRA_EDGE_CLUSTER"),
        "{output:?}"
    );
    assert!(
        line("deadline = \"5s\" ").ends_with(" # default"),
        "{output:?}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &output.stdout).unwrap();
    let found = settings(program().arg("--config").arg(file.path()));
    for (key, value) in [
        ("threads", json!(3)),
        ("cluster", json!("lab")),
        ("connect", json!(["a:1"])),
        ("http.listen", json!("8080")),
    ] {
        assert_eq!(found[key]["value"], value);
        assert_eq!(found[key]["source"], "file");
    }
}

/// The output of a command that refuses a value.
fn refused(command: &mut Command) -> CommandOutput {
    let output = run(command);
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    output
}

#[test]
fn a_bad_value_of_a_variable_names_the_variable() {
    for (variable, value) in [
        ("ASTRA_EDGE_THREADS", "two"),
        ("ASTRA_EDGE_DEADLINE", "soon"),
        ("ASTRA_EDGE_MULTICAST", "maybe"),
        ("ASTRA_EDGE_EXECUTION_PROVIDERS", "cpu,gpu"),
        ("ASTRA_EDGE_LISTEN", "kitchen"),
        ("ASTRA_EDGE_CLUSTER", "a/b"),
        ("ASTRA_EDGE_NAME", ""),
        ("ASTRA_EDGE_HTTP_LISTEN", "kitchen"),
    ] {
        let output = refused(program().env(variable, value));
        assert!(output.stderr.contains(variable), "{output:?}");
    }
    // A flag wins over a variable, whatever is in that.
    let found = settings(
        program()
            .env("ASTRA_EDGE_THREADS", "two")
            .args(["--threads", "3"]),
    );
    assert_eq!(found["threads"]["value"], 3);
    let output = refused(
        program()
            .env("ASTRA_EDGE_THREADS", "1")
            .args(["--threads", "two"]),
    );
    assert!(output.stderr.contains("'--threads <N>'"), "{output:?}");
    let mut without_print = astra_edge();
    without_print
        .args(["run", "--no-multicast"])
        .env("ASTRA_EDGE_LOG", "what=ever=this");
    let output = refused(&mut without_print);
    assert!(
        output.stderr.contains("ASTRA_EDGE_LOG: found"),
        "{output:?}"
    );
}

#[test]
fn clients_take_the_cluster_from_variables_too() {
    let mut peers = astra_edge();
    peers.args(["peers", "--json", "--no-multicast", "--wait", "1ms"]);
    let output = run(peers.env("ASTRA_EDGE_CLUSTER", "from-a-variable"));
    assert!(
        output.stdout.contains("\"cluster\":\"from-a-variable\""),
        "{output:?}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "cluster = \"from-a-file\"\nmulticast = false\n",
    )
    .unwrap();
    let with_file = |peers: &mut Command| {
        peers.args(["peers", "--json", "--wait", "1ms", "--config"]);
        run(peers.arg(file.path()))
    };
    let output = with_file(&mut astra_edge());
    assert!(
        output.stdout.contains("\"cluster\":\"from-a-file\""),
        "{output:?}"
    );
    let output = with_file(astra_edge().env("ASTRA_EDGE_CLUSTER", "from-a-variable"));
    assert!(
        output.stdout.contains("\"cluster\":\"from-a-variable\""),
        "{output:?}"
    );
}
