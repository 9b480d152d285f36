use astra_bundle::{Quality, QualityMeasure};

use super::*;

fn report() -> Report {
    let member = |name: &str, first_token, tokens| MemberReport {
        name: name.to_owned(),
        first_token,
        tokens,
        compute_ms: 30.125,
        bytes_sent: 1234,
        ..MemberReport::default()
    };
    Report {
        rung_bits: 320,
        latency_ms: 41.26,
        members: vec![member("a", 0, 86), member("device-10", 86, 170)],
        input_bytes: 7000,
        result_bytes: 66000,
        ..Report::default()
    }
}

#[test]
fn people_get_a_table() {
    let expected = "\
member           tokens  compute ms  encode ms  wait ms  sent  received  masked
a             0-85 (86)       30.12       0.00     0.00  1234         0       0
device-10  86-255 (170)       30.12       0.00     0.00  1234         0       0

rung       320 bits per token per block
latency    41.3 ms
wire       7000 bytes of input out, 66000 bytes of features back
";
    assert_eq!(report().to_string(), expected);
}

#[test]
fn people_read_what_was_measured_of_the_rung() {
    let report = Report {
        measured: Some(Measured {
            devices: 4,
            inputs: 24,
            quality: Some(Quality {
                measure: QualityMeasure::ClsCosine,
                mean: 0.9921,
                low: 0.9903,
                high: 0.9938,
            }),
            ..Measured::default()
        }),
        ..report()
    };
    let expected = "rung       320 bits per token per block, measured class token cosine 0.9921 (0.9903 to 0.9938, 24 inputs, \
                    4 devices)\n";
    assert!(report.to_string().contains(expected), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["measured"]["quality"]["low"], 0.9903);
    assert_eq!(json["measured"]["inputs"], 24);
}

#[test]
fn texts_say_how_many_tokens_and_how_fast() {
    let text = Report {
        prompt_tokens: Some(320),
        reused_tokens: Some(300),
        generated_tokens: Some(64),
        prefill_ms: Some(81.24),
        tokens_per_second: Some(21.55),
        ..report()
    };
    let expected = "\
wire       7000 bytes of input out, 66000 bytes of the answer back
text       320 tokens, 300 of them reused, first token after 81.2 ms, 64 generated at 21.6 a second
";
    assert!(text.to_string().ends_with(expected), "{text}");
    let vector = Report {
        prompt_tokens: Some(12),
        ..report()
    };
    assert!(
        vector.to_string().ends_with("text       12 tokens\n"),
        "{vector}"
    );
}

#[test]
fn losses_are_not_hidden() {
    let mut report = report();
    report.members[1].failure = Some("no answer".to_owned());
    report.masked_tokens = 12;
    report.missing = vec![Range {
        first_token: 86,
        tokens: 170,
    }];
    let text = report.to_string();
    for line in [
        "device-10: no share: no answer\n",
        "masked     12 tokens",
        "missing    tokens 86-255 (170): ",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn programs_read_back_what_was_written() {
    let mut whole = report();
    whole.agreement = Some(Agreement {
        cls_cosine: Some(0.5),
        ..Agreement::default()
    });
    whole.one_device_latency_ms = Some(90.5);
    whole.measured = Some(Measured {
        devices: 4,
        ..Measured::default()
    });
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), whole);
    assert!(
        json.starts_with(r#"{"rung_bits":320,"latency_ms":41.26,"#),
        "{json}"
    );
    assert!(json.contains(r#""picture":null"#), "{json}");
    let plain = serde_json::to_string(&report()).unwrap();
    assert!(
        !plain.contains("one_device") && !plain.contains("measured"),
        "{plain}"
    );
    assert_eq!(serde_json::from_str::<Report>(&plain).unwrap(), report());
}
