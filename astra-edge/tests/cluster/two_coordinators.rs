//! Requests that come to two devices at once.

use crate::device::{Cluster, finish, start};

#[test]
fn both_requests_are_answered() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    for round in 0..3 {
        let requests =
            ["a", "b", "c"].map(|device| start(&mut cluster.infer(&["--device", device])));
        for request in requests {
            let report = cluster.read(finish(request));
            // Through the cluster or alone, but whole.
            assert!(report.missing.is_empty(), "round {round}: {report}");
            assert_eq!(report.masked_tokens, 0, "round {round}: {report}");
            let tokens: u16 = report.members.iter().map(|member| member.tokens).sum();
            assert_eq!(tokens, 256, "round {round}: {report}");
        }
    }
    // Every device is free again.
    for device in ["a", "b", "c"] {
        let report = cluster.report(&["--device", device]);
        assert_eq!(report.members.len(), 3, "{report}");
    }
}
