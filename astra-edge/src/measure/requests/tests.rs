use super::*;
use crate::measure::processor_time::ProcessorTime;
use crate::measure::requests::counters::Counters;
use crate::measure::requests::table::rows_as_table;

fn sample(latency_ms: f64, cosine: f64, kernel: Option<u64>) -> Sample {
    let member = |name: &str, wait_ms: f64| MemberReport {
        name: name.to_owned(),
        tokens: 128,
        compute_ms: 20.0,
        encode_ms: 1.0,
        wait_ms,
        overhead_ms: 2.0,
        bytes_sent: 1000,
        ..MemberReport::default()
    };
    Sample {
        report: Report {
            latency_ms,
            prepare_ms: latency_ms / 10.0,
            members: vec![member("a", 2.0), member("b", 4.0)],
            input_bytes: 300,
            result_bytes: 40,
            ..Report::default()
        },
        agreement: Agreement {
            cls_cosine: Some(cosine),
            map_mae: Some(1.0 - cosine),
            ..Agreement::default()
        },
        kernel,
        processor_time: None,
    }
}

fn one_device(latency_ms: f64) -> OneDeviceTimes {
    OneDeviceTimes {
        latency_ms,
        other_ms: 1.0,
    }
}

fn key(method: Method, rung_bits: u16) -> RowKey {
    RowKey {
        preset: Some("wifi-10".to_owned()),
        method,
        rung_bits,
    }
}

#[test]
fn quantiles_of_known_values() {
    let values = [4.0, 1.0, 3.0, 2.0];
    assert_eq!(quantile(&values, 0.0), 1.0);
    assert_eq!(quantile(&values, 0.25), 1.75);
    assert_eq!(median(&values), 2.5);
    assert_eq!(quantile(&values, 1.0), 4.0);
    assert_eq!(median(&[7.0]), 7.0);
    assert_eq!(median(&[]), 0.0);
}

#[test]
fn a_row_sums_up_its_requests() {
    let samples = [
        sample(30.0, 0.99, Some(2500)),
        sample(40.0, 0.97, Some(2600)),
        sample(32.0, 0.98, Some(2700)),
    ];
    let row = Row::summarize(key(Method::Astra, 160), &samples, Some(one_device(64.0))).unwrap();
    assert_eq!((row.devices, row.tokens, row.requests), (2, 256, 3));
    assert_eq!(
        (
            row.latency_ms_median,
            row.latency_ms_min,
            row.latency_ms_max
        ),
        (32.0, 30.0, 40.0)
    );
    assert_eq!(row.prepare_ms, Some(3.2));
    assert_eq!(row.speedup_over_one_device, Some(2.0));
    let agreement = row.agreement.unwrap();
    assert_eq!(agreement.cls_cosine, Some(0.97));
    assert_eq!(agreement.map_mae, Some(1.0 - 0.97));
    assert_eq!((row.bytes_counted, row.bytes_kernel), (2340, Some(2600)));
    assert_eq!((row.input_bytes, row.result_bytes), (300, 40));
    assert_eq!(
        (row.compute_ms, row.encode_ms, row.wait_ms, row.rest_ms),
        (20.0, 1.0, 3.0, 8.0)
    );
    assert_eq!((row.wait_share, row.own_share), (3.0 / 32.0, None));
    assert_eq!(row.members[1].wait_ms, 4.0);
    assert!(Row::summarize(key(Method::Astra, 160), &[], None).is_none());
}

#[test]
fn requests_of_other_members_are_in_no_figure() {
    let mut fewer = sample(1000.0, 0.1, Some(1));
    fewer.report.members.truncate(1);
    fewer.report.alone = Some("not worth it".to_owned());
    let samples = [
        sample(30.0, 0.99, Some(2500)),
        sample(40.0, 0.97, Some(2600)),
        fewer.clone(),
    ];
    let row = Row::summarize(key(Method::Astra, 160), &samples, Some(one_device(70.0))).unwrap();
    assert_eq!(
        (row.devices, row.requests, row.requests_by_others),
        (2, 2, 1)
    );
    assert_eq!((row.latency_ms_max, row.alone), (40.0, None));
    assert_eq!(row.agreement.unwrap().cls_cosine, Some(0.97));
    // What holds from now on, where both are as many.
    let row = Row::summarize(key(Method::Astra, 160), &samples[1..], None).unwrap();
    assert_eq!((row.devices, row.latency_ms_median), (1, 1000.0));
}

#[test]
fn bytes_are_not_made_up_where_a_counter_is_missing() {
    let samples = [sample(30.0, 0.99, Some(2500)), sample(40.0, 0.97, None)];
    let row = Row::summarize(key(Method::SpF32, 0), &samples, None).unwrap();
    assert_eq!(
        (row.bytes_kernel, row.speedup_over_one_device),
        (None, None)
    );
}

#[test]
fn rows_have_the_fields_that_programs_look_for() {
    let row = Row::summarize(
        key(Method::Astra, 160),
        &[sample(30.0, 0.99, Some(1))],
        Some(one_device(60.0)),
    )
    .unwrap();
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(json["preset"], "wifi-10");
    assert_eq!(json["method"], "astra");
    assert_eq!(json["rung_bits"], 160);
    for field in [
        "devices",
        "tokens",
        "latency_ms_median",
        "speedup_over_one_device",
        "agreement",
        "bytes_counted",
        "bytes_kernel",
    ] {
        assert!(!json[field].is_null(), "{field}");
    }
    let alone =
        Row::summarize(key(Method::OneDevice, 0), &[sample(30.0, 1.0, None)], None).unwrap();
    let json = serde_json::to_value(&alone).unwrap();
    assert_eq!(
        (&json["method"], &json["speedup_over_one_device"]),
        (&"one-device".into(), &1.0.into())
    );
    assert!(json["rung_bits"].is_null());
    assert_eq!(serde_json::to_value(Method::of_rung(0)).unwrap(), "sp-f32");
}

#[test]
fn people_get_a_table_and_are_told_of_losses() {
    let mut lossy = sample(30.0, 0.5, None);
    lossy.report.masked_tokens = 7;
    let rows = [Row::summarize(key(Method::SpF32, 0), &[lossy], Some(one_device(60.0))).unwrap()];
    let text = rows_as_table(&rows);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("link     method"), "{text}");
    assert!(lines[1].starts_with("wifi-10  sp-f32"), "{text}");
    assert!(
        lines[1].contains(" exact ") && lines[1].contains(" 2.00 "),
        "{text}"
    );
    assert_eq!(lines[2], "sp-f32 in exact mode left out 7 tokens");
}

#[test]
fn our_own_share_is_what_is_neither_model_nor_input() {
    let mut one = sample(30.0, 0.99, None);
    // Of 84 ms of the compute threads 4 are ours, and one millisecond of the rest prepares the input.
    one.processor_time = Some(ProcessorTime {
        computing_ms: 84.0,
        other_ms: 17.0,
    });
    let row = Row::summarize(key(Method::Astra, 160), &[one], Some(one_device(60.0))).unwrap();
    assert!((row.own_share.unwrap() - 0.2).abs() < 1e-12, "{row:?}");
}

#[test]
fn texts_are_timed_to_their_first_token() {
    let mut texts = [sample(900.0, 0.0, None), sample(900.0, 0.0, None)];
    for (text, top1) in texts.iter_mut().zip([1.0, 0.0]) {
        text.report.prefill_ms = Some(40.0);
        text.report.prompt_tokens = Some(1024);
        text.agreement = Agreement {
            top1: Some(top1),
            ..Agreement::default()
        };
    }
    let row = Row::summarize(key(Method::Astra, 160), &texts, Some(one_device(80.0))).unwrap();
    assert_eq!((row.tokens, row.latency_ms_median), (1024, 40.0));
    assert_eq!(row.speedup_over_one_device, Some(2.0));
    assert_eq!(row.agreement.unwrap().top1, Some(0.5));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let mut one = sample(30.0, 0.0, None);
    one.agreement = Agreement::default();
    let row = Row::summarize(key(Method::Bp4, 0), &[one], Some(one_device(60.0))).unwrap();
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(json["method"], "bp-4");
    assert!(json["agreement"].is_null() && json["rung_bits"].is_null());
    assert!(json["note"].as_str().unwrap().starts_with("latency only"));
    assert_eq!(row.speedup_over_one_device, Some(2.0));
}

#[test]
fn counters_are_read_and_what_is_none_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for (folder, bytes) in [(&a, "1200\n"), (&b, "34\n")] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("tx_bytes"), bytes).unwrap();
    }
    let counters = Counters::new(vec![a, b.clone()]);
    assert_eq!(counters.sent().unwrap(), Some(1234));
    assert_eq!(Counters::default().sent().unwrap(), None);
    std::fs::write(b.join("tx_bytes"), "many\n").unwrap();
    let error = counters.sent().unwrap_err().to_string();
    assert!(
        error.ends_with("b/tx_bytes: found \"many\", expected a number of bytes"),
        "{error}"
    );
}
