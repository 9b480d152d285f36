//! Devices that die, fall silent, leave and come back.

use crate::device::{Cluster, Device, astra_edge, finish, photo, run, start};
use crate::namespace::Lan;

fn names(report: &astra_edge::report::Report) -> Vec<&str> {
    report
        .members
        .iter()
        .map(|member| member.name.as_str())
        .collect()
}

#[test]
fn a_device_that_left_or_died_is_not_used() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let report = cluster.report(&["--device", "a"]);
    assert_eq!(names(&report), ["a", "b", "c"]);

    cluster.device("b").signal("KILL");
    cluster.device("b").wait();
    cluster.until("a sees b go", || {
        cluster.devices[0].log().contains("device left")
    });
    let report = cluster.report(&["--device", "a"]);
    assert_eq!(names(&report), ["a", "c"]);
    assert_eq!(report.masked_tokens, 0);

    cluster.device("c").signal("TERM");
    assert!(cluster.device("c").wait().success());
    let left = |cluster: &Cluster| cluster.devices[0].log().matches("device left").count();
    cluster.until("a sees c go", || left(&cluster) == 2);
    let report = cluster.report(&["--device", "a"]);
    assert_eq!(names(&report), ["a"]);
    assert!(report.alone.unwrap().contains("no other device"));
    assert_eq!(cluster.peers().len(), 1);
}

#[test]
fn a_device_that_falls_silent_costs_its_tokens_and_no_more() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    // A plan stands.
    cluster.report(&["--device", "a"]);

    cluster.device("b").signal("STOP");
    let picture = cluster.folder.path().join("picture.png");
    let out = picture.to_str().unwrap();
    let output = run(&mut cluster.infer(&["--device", "a", "--deadline", "30s", "--out", out]));
    cluster.device("b").signal("CONT");
    let report = cluster.read(output);
    assert_eq!(names(&report), ["a", "b", "c"]);
    let silent = &report.members[1];
    assert!(silent.failure.is_some(), "{report}");
    assert_eq!(report.missing.len(), 1, "{report}");
    assert_eq!(report.missing[0].first_token, silent.first_token);
    assert_eq!(report.missing[0].tokens, silent.tokens);
    // The two others missed its tokens in each of the 12 blocks.
    assert!(
        report.masked_tokens >= 2 * 12 * u64::from(silent.tokens),
        "{report}"
    );
    assert!(picture.is_file());

    cluster.until("b is used again", || {
        let report = cluster.report(&["--device", "a"]);
        names(&report) == ["a", "b", "c"] && report.missing.is_empty()
    });
}

#[test]
fn a_device_that_dies_in_the_middle_does_not_hold_the_request() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.report(&["--device", "a"]);
    let begun = |cluster: &Cluster| cluster.devices[0].log().matches("request begins").count();
    let before = begun(&cluster);

    // It takes its part and computes nothing, so that the request is surely under way when it dies.
    cluster.device("b").signal("STOP");
    let request = start(&mut cluster.infer(&["--device", "a", "--deadline", "15m"]));
    cluster.until("the request begins", || begun(&cluster) > before);
    cluster.device("b").signal("KILL");
    cluster.device("b").wait();

    // Long before the deadline: the harness waits for no more than two minutes.
    let report = cluster.read(finish(request));
    assert!(report.members[1].failure.is_some(), "{report}");
    assert_eq!(report.missing.len(), 1, "{report}");
    assert!(report.masked_tokens > 0, "{report}");
    assert_eq!(names(&cluster.report(&["--device", "a"])), ["a", "c"]);
}

#[test]
fn a_device_that_gets_out_of_reach_does_not_hold_up_the_others() {
    let mut cluster = Cluster::new();
    let addresses = ["10.9.8.1", "10.9.8.2", "10.9.8.3"];
    let Some(lan) = Lan::new(&cluster.name, &addresses) else {
        return;
    };
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let command = cluster.device_command(name);
        cluster.spawn(name, lan.host(number).command(&command));
    }
    let [a, b, c] = &cluster.devices[..] else {
        unreachable!("three were started");
    };
    let logs = |at: &Device, event: &str, other: &Device| {
        let line = format!("device {event} device={}", other.id);
        at.log().contains(&line)
    };
    let both_log = |event: &str| logs(a, event, c) && logs(b, event, c);
    cluster.until("they see each other", || {
        both_log("joined") && logs(a, "joined", b) && logs(b, "joined", a)
    });

    // Its connections are not closed: they time out.
    lan.plug(2, "down");
    cluster.until("a and b see c go", || both_log("left"));
    let mut client = astra_edge();
    client
        .args(["infer", "--json", "--cluster", &cluster.name])
        .args(["--device", "a", "--deadline", "60s"])
        .arg(photo());
    let output = run(&mut lan.host(0).command(&client));
    assert_eq!(names(&cluster.read(output)), ["a", "b"]);
    let kept = !logs(a, "left", b) && !logs(b, "left", a);
    assert!(kept, "{}", cluster.logs());
}
