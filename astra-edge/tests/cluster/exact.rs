//! Answers of clusters against the answer of one device.

use std::path::Path;

use astra_bundle::Bundle;
use astra_edge::report::Report;
use serde_json::Value;

use crate::device::{Cluster, astra_edge, bundle_dir, not_a_picture, photo, run};

/// What exact mode may differ by: float32 rounding, in other orders.
const EXACT: f64 = 1e-3;
/// Bytes of a frame beyond its codes.
const HEADER: u64 = 24;

/// Class token and map that a request wrote.
fn answer(path: &Path) -> (Vec<f64>, Vec<f64>) {
    let text = std::fs::read_to_string(path).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let numbers = |key: &str| -> Vec<f64> {
        let list = value[key].as_array().unwrap();
        list.iter().map(|number| number.as_f64().unwrap()).collect()
    };
    (numbers("cls"), numbers("map"))
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(!a.is_empty());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

fn tokens(report: &Report) -> Vec<u16> {
    report.members.iter().map(|member| member.tokens).collect()
}

/// Nothing was lost, and the wire carried codes and short headers and nothing else.
fn check_traffic(report: &Report) {
    assert_eq!(report.masked_tokens, 0, "{report}");
    assert!(report.missing.is_empty(), "{report}");
    for member in &report.members {
        assert_eq!(member.failure, None);
        let headers = member.bytes_sent - member.code_bytes_sent;
        assert!(member.frames_sent > 0 && headers > 0, "{report}");
        assert!(
            headers <= HEADER * u64::from(member.frames_sent),
            "{report}"
        );
    }
    let sum = |of: fn(&astra_edge::report::MemberReport) -> u64| -> u64 {
        report.members.iter().map(of).sum()
    };
    assert_eq!(sum(|m| m.bytes_sent), sum(|m| m.bytes_received), "{report}");
}

#[test]
fn clusters_of_two_to_five_answer_as_one_device_does() {
    let cluster = Cluster::of(&["a", "b", "c", "d", "e"]);
    let file = cluster.folder.path().join("answer.json");
    let path = file.to_str().unwrap();

    let mut alone = astra_edge();
    alone.args(["infer", "--alone", "--json", "--answer", path, "--bundle"]);
    let output = run(alone.arg(bundle_dir()).arg(photo()));
    assert!(output.status.success(), "{output:?}");
    let (cls, map) = answer(&file);

    for ranges in [
        "128,128",
        "200,56",
        "86,85,85",
        "100,80,76",
        "64,64,64,64",
        "1,2,3,250",
        "52,51,51,51,51",
        "7,80,9,100,60",
    ] {
        let report = cluster.report(&["--rung", "exact", "--ranges", ranges, "--answer", path]);
        let wanted: Vec<u16> = ranges.split(',').map(|n| n.parse().unwrap()).collect();
        assert_eq!(tokens(&report), wanted);
        check_traffic(&report);
        let (found_cls, found_map) = answer(&file);
        assert!(worst(&found_cls, &cls) < EXACT, "{ranges}: class token");
        assert!(worst(&found_map, &map) < EXACT, "{ranges}: map");
    }
    coded(&cluster);
    refused(&cluster);
}

/// With codes the answer is close, small and compared.
fn coded(cluster: &Cluster) {
    let picture = cluster.folder.path().join("picture.png");
    let report = cluster.report(&[
        "--rung",
        "320",
        "--ranges",
        "64,64,64,64",
        "--compare",
        "--out",
        picture.to_str().unwrap(),
    ]);
    check_traffic(&report);
    assert_eq!(report.rung_bits, 320);
    let agreement = report.agreement.unwrap();
    assert!(agreement.cls_cosine.unwrap() > 0.94, "{report}");
    // Members score their own rows: features go to neighbours, not back.
    assert_eq!(agreement.patch_cosine, None, "{report}");
    assert!(agreement.map_mae.unwrap() < 0.06, "{report}");
    assert!(report.one_device_latency_ms.unwrap() > 0.0);
    let bundle = Bundle::open(&bundle_dir()).unwrap();
    let bits = bundle.rung(320).unwrap().mean_bits.unwrap();
    // As many of each token, 12 blocks, 3 receivers.
    let codes = (bits / 8.0 * 64.0 * 12.0 * 3.0).round() as u64;
    assert!((64 * 39 * 12 * 3..=64 * 40 * 12 * 3).contains(&codes));
    for member in &report.members {
        assert_eq!(member.code_bytes_sent, codes);
        // At least a row of tokens, at 4 bits a channel and 8 bytes more.
        assert!(member.halo_bytes > 16 * (192 + 8), "{report}");
        assert!(member.halo_bytes < 64 * (192 + 16), "{report}");
    }
    // Less than a byte for each of 8 x 8 scores a patch, and the class token.
    let (scores, class) = (3 * 64 * 8 * 8, 3 * 4 * 384);
    assert!(report.input_bytes > 0, "{report}");
    assert!(
        (class..class + scores).contains(&report.result_bytes),
        "{report}"
    );
    assert_eq!(report.picture.as_deref(), picture.to_str());
    let png = std::fs::read(&picture).unwrap();
    assert!(png.starts_with(b"\x89PNG"));

    // Without ranges the tokens go by speed, and all of them go somewhere; fewer members where fewer are wanted.
    let report = cluster.report(&["--device", "c"]);
    assert_eq!(report.coordinator, "c");
    assert_eq!(report.members.len(), 5);
    assert_eq!(tokens(&report).iter().sum::<u16>(), 256);
    let report = cluster.report(&["--max-members", "2", "--device", "b"]);
    assert_eq!(report.members.len(), 2);
    assert!(report.members.iter().any(|member| member.name == "b"));
}

/// Invalid requests are refused with what was found and expected, and the cluster keeps working.
fn refused(cluster: &Cluster) {
    for (flags, parts) in [
        (
            vec!["--rung", "7"],
            vec!["rung: found none of 7 bits", "320"],
        ),
        (
            vec!["--ranges", "100,80"],
            vec!["tokens of all members: found 180", "256"],
        ),
        (vec!["--ranges", "0,256"], vec!["0 to 0"]),
        (
            vec!["--ranges", "50,50,50,50,50,6"],
            vec!["6 members", "at most 5"],
        ),
    ] {
        let output = run(&mut cluster.infer(&flags));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(output.stdout, "");
        for part in parts {
            assert!(
                output.stderr.contains(part),
                "{flags:?}: {part:?} not in {output:?}"
            );
        }
    }
    let mut broken = cluster.client("infer");
    let output = run(broken.arg(not_a_picture()));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("not an image"), "{output:?}");
    assert!(output.stderr.contains("Cargo.toml"), "{output:?}");
    check_traffic(&cluster.report(&[]));
}
