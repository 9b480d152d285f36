//! Devices of one cluster that have the same name.

use crate::device::{Cluster, run};

#[test]
fn a_name_given_twice_is_refused_and_an_id_is_taken() {
    let cluster = Cluster::of(&["twin", "twin"]);
    let peers = cluster.peers();
    let mut ids: Vec<&str> = peers
        .iter()
        .map(|peer| peer["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let output = run(&mut cluster.infer(&["--device", "twin"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let expected = format!(
        "error: device \"twin\" of cluster {}: found 2 of that name ({}, {}), expected one; give its id, or the first digits of it",
        cluster.name, ids[0], ids[1]
    );
    assert_eq!(output.stderr.trim_end(), expected);
    assert_eq!(output.stdout, "");
    // Ids are random: no two devices have eight digits in common.
    for id in [ids[1], &ids[1][..8]] {
        let report = cluster.report(&["--device", id]);
        assert_eq!(report.coordinator, "twin");
    }
}
