//! Small models of every family in bundles, with a rung fitted on noise.

use std::path::Path;

use astra_bundle::{Bundle, Calibration, Filter, Fit, Sha256Digest, TextInput};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::family::bert::{BertBlock, BertModel, EmbeddingHead};
use crate::family::gpt2::{Gpt2Block, Gpt2Model};
use crate::family::llama::{LlamaBlock, LlamaModel, rope_frequencies};
use crate::family::vit::{BlockWeights, Head, ImageScale, VitModel};
use crate::family::weights::{Linear, Norm, RmsNorm};
use crate::fit::{BasisKind, BlockSamples, BlockSpec, Refinement, RungSpec, fit};
use crate::package::{Draft, Request, codec_weights};
use crate::position::PositionTable;
use crate::source::{Content, Imported, ImportedText, ImportedVit, PictureInput, TextModel};

pub(super) const HIDDEN: usize = 16;
pub(super) const PATCH: usize = 2;
/// Divided tokens of a picture.
pub(super) const PATCHES: usize = 16;
pub(super) const VOCAB: usize = 23;
pub(super) const BITS: u32 = 6;
const HEADS: usize = 2;
const MLP: usize = 20;
const BLOCKS: usize = 3;
const POSITIONS: usize = 24;
const ROWS: usize = 60;

/// The families.
#[derive(Clone, Copy, Debug)]
pub(super) enum Small {
    Vit,
    Llama,
    Gpt2,
    Bert,
}

impl Small {
    pub(super) const ALL: [Self; 4] = [Self::Vit, Self::Llama, Self::Gpt2, Self::Bert];

    /// A bundle in `folder`, whose rung predicts or not.
    pub(super) fn bundle(self, folder: &Path, predicted: bool) -> Bundle {
        let imported = Imported {
            content: self.content(&mut Random::new(3)),
            file: "small".to_owned(),
            sha256: Sha256Digest::of(b"small"),
            warnings: Vec::new(),
        };
        let request = Request {
            name: "small",
            size: 4 * PATCH,
            max_tokens: None,
            seed: 0,
        };
        let mut draft = Draft::write(&folder.join("bundle"), &imported, &request).unwrap();
        let weights = codec_weights(&imported.content);
        let mut random = Random::new(5);
        let samples = weights.iter().map(|block| {
            let mut rows = |width: usize| random.around(0.0, 1.0, ROWS * width);
            let (n, q) = (rows(block.shape.hidden), rows(block.shape.query_width()));
            let v = rows(block.shape.kv_width());
            let mut samples = BlockSamples::new(block.shape);
            samples.push(&n, &q, &v).unwrap();
            samples
        });
        let samples: Vec<_> = samples.collect();
        let fitted = fit(&samples, &weights, &[rung(predicted)], 1, &|_, _| ()).unwrap();
        let calibration = Calibration {
            source: "noise".to_owned(),
            inputs: 1,
            tokens: ROWS,
            held_out: 0,
        };
        draft.add_codec(&fitted, calibration).unwrap();
        draft.finish().unwrap()
    }

    fn content(self, random: &mut Random) -> Content {
        let model = match self {
            Self::Vit => return random.vit(),
            Self::Llama => TextModel::Decoder(random.llama().into()),
            Self::Gpt2 => TextModel::Decoder(random.gpt2().into()),
            Self::Bert => TextModel::Bert(random.bert()),
        };
        Content::Text(ImportedText {
            model,
            input: TextInput {
                tokenizer: "tokenizer.json".to_owned(),
                vocab: VOCAB,
                max_tokens: POSITIONS,
                bos: None,
                eos: Vec::new(),
                add_bos: false,
                chat_template: None,
                bos_token: None,
                eos_token: None,
                rotary: matches!(self, Self::Llama),
                learned_positions: !matches!(self, Self::Llama),
            },
            tokenizer: b"{}".to_vec(),
            template_from: None,
        })
    }
}

/// A rung of ranks that differ, with a second stage.
fn rung(predicted: bool) -> RungSpec {
    let blocks = (0..BLOCKS).map(|block| BlockSpec {
        // Some blocks with means, some without.
        frame_mean_bits: 8 * (block % 2),
        rank: [4, 7, 6][block % 3],
        groups: 2,
        refined_groups: 3,
    });
    RungSpec {
        bits: BITS,
        code_bits: 3,
        basis: BasisKind::Attention,
        predicted,
        refinement: Some(Refinement {
            share: 64,
            code_bits: 2,
        }),
        blocks: blocks.collect(),
    }
}

pub(super) struct Random(StdRng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Uniform in `centre - width .. centre + width`.
    pub(super) fn around(&mut self, centre: f32, width: f32, count: usize) -> Vec<f32> {
        let range = centre - width..centre + width;
        (0..count)
            .map(|_| self.0.random_range(range.clone()))
            .collect()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.random()).collect()
    }

    pub(super) fn ids(&mut self, count: usize) -> Vec<u32> {
        (0..count)
            .map(|_| self.0.random_range(0..VOCAB as u32))
            .collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        let width = 2.0 / (inputs as f32).sqrt();
        Linear {
            inputs,
            outputs,
            weight: self.around(0.0, width, inputs * outputs),
            bias: self.around(0.0, 0.3, outputs),
            blocks: None,
        }
    }

    fn norm(&mut self) -> Norm {
        Norm {
            weight: self.around(1.0, 0.5, HIDDEN),
            bias: self.around(0.0, 0.5, HIDDEN),
            epsilon: 1e-6,
        }
    }

    fn rms_norm(&mut self) -> RmsNorm {
        RmsNorm {
            weight: self.around(1.0, 0.5, HIDDEN),
            epsilon: 1e-5,
        }
    }

    fn vit(&mut self) -> Content {
        let table = self.around(0.0, 1.0, PATCHES * HIDDEN);
        let block = |random: &mut Self| BlockWeights {
            norm1: random.norm(),
            query: random.linear(HIDDEN, HIDDEN),
            key: random.linear(HIDDEN, HIDDEN),
            value: random.linear(HIDDEN, HIDDEN),
            output: random.linear(HIDDEN, HIDDEN),
            norm2: random.norm(),
            up: random.linear(HIDDEN, MLP),
            down: random.linear(MLP, HIDDEN),
        };
        Content::Image(ImportedVit {
            model: VitModel {
                hidden: HIDDEN,
                heads: HEADS,
                patch: PATCH,
                projection: self.linear(3 * PATCH * PATCH, HIDDEN),
                class_token: self.around(0.0, 1.0, HIDDEN),
                positions: PositionTable::new(table, HIDDEN).unwrap(),
                blocks: (0..BLOCKS).map(|_| block(self)).collect(),
                norm: self.norm(),
                head: Head::Features,
            },
            input: PictureInput {
                scale: ImageScale::IMAGENET,
                fit: Fit::Stretch,
                filter: Filter::Triangle,
                size: 4 * PATCH,
                resize: 4 * PATCH,
            },
        })
    }

    fn llama(&mut self) -> LlamaModel {
        let (heads, kv_heads, head_dim) = (4, 2, 8);
        let block = |random: &mut Self| {
            let mut block = LlamaBlock {
                norm1: random.rms_norm(),
                query: random.linear(HIDDEN, heads * head_dim),
                key: random.linear(HIDDEN, kv_heads * head_dim),
                value: random.linear(HIDDEN, kv_heads * head_dim),
                output: random.linear(heads * head_dim, HIDDEN),
                norm2: random.rms_norm(),
                gate: random.linear(HIDDEN, MLP),
                up: random.linear(HIDDEN, MLP),
                down: random.linear(MLP, HIDDEN),
            };
            block.down.bias.fill(0.0);
            block
        };
        LlamaModel {
            hidden: HIDDEN,
            heads,
            kv_heads,
            head_dim,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            embedding_blocks: None,
            frequencies: rope_frequencies(100.0, head_dim),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            norm: self.rms_norm(),
            head: None,
        }
    }

    fn gpt2(&mut self) -> Gpt2Model {
        let block = |random: &mut Self| Gpt2Block {
            norm1: random.norm(),
            query: random.linear(HIDDEN, HIDDEN),
            key: random.linear(HIDDEN, HIDDEN),
            value: random.linear(HIDDEN, HIDDEN),
            output: random.linear(HIDDEN, HIDDEN),
            norm2: random.norm(),
            up: random.linear(HIDDEN, MLP),
            down: random.linear(MLP, HIDDEN),
        };
        Gpt2Model {
            hidden: HIDDEN,
            heads: HEADS,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            positions: self.around(0.0, 0.5, POSITIONS * HIDDEN),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            norm: self.norm(),
        }
    }

    fn bert(&mut self) -> BertModel {
        let block = |random: &mut Self| BertBlock {
            query: random.linear(HIDDEN, HIDDEN),
            key: random.linear(HIDDEN, HIDDEN),
            value: random.linear(HIDDEN, HIDDEN),
            output: random.linear(HIDDEN, HIDDEN),
            norm1: random.norm(),
            up: random.linear(HIDDEN, MLP),
            down: random.linear(MLP, HIDDEN),
            norm2: random.norm(),
        };
        BertModel {
            hidden: HIDDEN,
            heads: HEADS,
            vocab: VOCAB,
            embedding: self.around(0.0, 1.0, VOCAB * HIDDEN),
            positions: self.around(0.0, 0.5, POSITIONS * HIDDEN),
            norm: self.norm(),
            blocks: (0..BLOCKS).map(|_| block(self)).collect(),
            head: EmbeddingHead::mean(),
        }
    }
}
