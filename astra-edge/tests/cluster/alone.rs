//! One device by itself, with and without a cluster around it.

use crate::device::{Cluster, astra_edge, bundle_dir, not_a_picture, photo, run};

#[test]
fn a_device_without_others_answers_alone_and_says_so() {
    let cluster = Cluster::of(&["a"]);
    let report = cluster.report(&["--compare"]);
    assert_eq!(report.members.len(), 1);
    assert_eq!(report.members[0].tokens, 256);
    assert!(report.alone.unwrap().contains("no other device"));
    assert!((report.agreement.unwrap().cls_cosine.unwrap() - 1.0).abs() < 1e-6);
    // A name that no device of the cluster has is an error.
    let output = run(&mut cluster.infer(&["--device", "b", "--wait", "300ms"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("\"b\"") && output.stderr.contains("found a"),
        "{output:?}"
    );
}

#[test]
fn a_machine_answers_without_a_cluster() {
    let mut command = astra_edge();
    command
        .args(["infer", "--alone", "--bundle"])
        .arg(bundle_dir());
    let output = run(command.arg(photo()));
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.contains("this machine"), "{output:?}");
    let mut command = astra_edge();
    command
        .args(["infer", "--alone", "--bundle"])
        .arg(bundle_dir());
    let output = run(command.arg(not_a_picture()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("not an image"), "{output:?}");
}

#[test]
fn a_plan_needs_no_picture_to_be_one_for_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.json");
    let mut command = astra_edge();
    command
        .args(["plan", "--json", "--devices", "2", "--mbps", "20"])
        .args(["--rungs", "320", "--bundle"])
        .arg(bundle_dir());
    let output = run(command.arg("--save").arg(&profile));
    assert!(output.status.success(), "{output:?}");
    let rows: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (&rows[0]["tokens"], &rows[0]["devices"]),
        (&256.into(), &2.into())
    );
    let profile = std::fs::read_to_string(profile).unwrap();
    let profile: serde_json::Value = serde_json::from_str(&profile).unwrap();
    let strip = profile["strip"]["bytes"].as_f64().unwrap();
    assert!(strip > 4.0, "{strip} bytes a token are no pixels");
}

#[test]
fn a_deadline_too_short_for_a_cluster_is_answered_alone_with_the_reason() {
    let cluster = Cluster::of(&["a", "b"]);
    // The picture is not even decoded by then.
    let report = cluster.report(&["--device", "a", "--deadline", "1ms"]);
    assert_eq!(report.members.len(), 1, "{report}");
    let why = report.alone.unwrap();
    assert!(
        why.contains("worked on other requests for half of the time"),
        "{why}"
    );
}
