//! Texts through a bundle.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use astra_bundle::{Bundle, Task};
use astra_export::calibrate::written;
use astra_export::texts;
use astra_export::verify::{LostFrames, Row, measure_texts};
use astra_model::tasks::text::tokenizer::Tokenizer;
use serde::Serialize;

use super::{Verify, heading, interval, name, number};
use crate::cli::progress::Bar;
use crate::cli::{print_json, print_text};

/// Of the built-in passages.
const SEED: u64 = 1 << 32;

/// The figures.
#[derive(Serialize)]
struct Figures {
    /// Windows or passages scored.
    texts: usize,
    /// Tokens in all of them.
    tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_frames: Option<LostFrames>,
    rows: Vec<Row>,
}

impl Verify {
    pub(super) fn texts(&self, bundle: &Bundle) -> Result<()> {
        let text = self.text(bundle)?;
        let manifest = bundle.manifest();
        let input = manifest.text.as_ref().context("the bundle takes no text")?;
        let tokenizer = Tokenizer::open(bundle.dir(), input)?;
        let texts = texts::inputs(&text, &tokenizer, manifest, self.windows)?;
        let runtime = self.runtime.load()?;
        let (rungs, divisions) = (self.chosen_rungs(bundle), self.divisions());
        let figures = Figures {
            texts: texts.len(),
            tokens: texts.iter().map(Vec::len).sum(),
            lost_frames: self.lost(),
            rows: {
                let bar = Bar::new("rungs");
                let report = bar.report();
                measure_texts(&runtime, bundle, &texts, &rungs, &divisions, &report)?
            },
        };
        if self.json {
            return print_json(&figures);
        }
        print_text(&table(&figures))
    }

    fn text(&self, bundle: &Bundle) -> Result<String> {
        let file = match (&bundle.manifest().task, &self.perplexity, &self.texts) {
            (Task::Generation, Some(file), _) => file,
            (Task::Generation, None, _) => {
                bail!("text to score the language model on: found none, expected --perplexity FILE")
            }
            (_, Some(_), _) => bail!("the bundle is of no language model: it has no perplexity"),
            (_, None, Some(file)) => file,
            (_, None, None) => return Ok(written::held_out_passages(SEED)),
        };
        Ok(texts::read(file)?)
    }
}

fn table(figures: &Figures) -> String {
    let inputs = format!("{} texts, {} tokens", figures.texts, figures.tokens);
    let mut text = heading(&inputs, figures.lost_frames);
    text.push_str("\n bits  rank  devices  perplexity   exact   change  cosine  95 % interval");
    for row in &figures.rows {
        let agreement = &row.agreement;
        let both = agreement.perplexity.zip(agreement.perplexity_exact);
        let change = both.map_or("-".to_owned(), |(found, exact)| {
            format!("{:+.2}%", 100.0 * (found / exact - 1.0))
        });
        let short = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{:>5} {:>5} {:>8} {:>11} {:>7} {change:>8} {:>7}  {}",
            name(row.bits),
            row.rank,
            agreement.devices,
            short(agreement.perplexity),
            short(agreement.perplexity_exact),
            number(agreement.embedding_cosine),
            interval(row)
        );
    }
    text
}
