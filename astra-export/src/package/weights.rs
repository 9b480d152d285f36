//! What the fit has to know of a model.

use crate::family::bert::BertModel;
use crate::family::decoder::Decoder;
use crate::family::weights::Linear;
use crate::fit::{AttentionShape, BlockWeights};
use crate::source::{Content, ImportedVit, TextModel};

/// What the fit has to know of each block.
pub fn codec_weights(content: &Content) -> Vec<BlockWeights<'_>> {
    match content {
        Content::Image(ImportedVit { model, .. }) => {
            let shape = full_heads(model.hidden, model.heads);
            let blocks = model.blocks.iter();
            let of = blocks.map(|b| block_weights(shape, &b.key, &b.value, &b.output));
            of.collect()
        }
        Content::Text(text) => match &text.model {
            TextModel::Decoder(model) => decoder_weights(model),
            TextModel::Bert(model) => bert_weights(model),
        },
    }
}

fn decoder_weights(model: &Decoder) -> Vec<BlockWeights<'_>> {
    let shape = AttentionShape {
        hidden: model.hidden,
        heads: model.heads,
        kv_heads: model.kv_heads,
        head_dim: model.head_dim,
    };
    let blocks = model.blocks.iter();
    let of = blocks.map(|b| block_weights(shape, &b.key, &b.value, &b.output));
    of.collect()
}

fn bert_weights(model: &BertModel) -> Vec<BlockWeights<'_>> {
    let shape = full_heads(model.hidden, model.heads);
    let blocks = model.blocks.iter();
    let of = blocks.map(|b| block_weights(shape, &b.key, &b.value, &b.output));
    of.collect()
}

/// As many K/V heads as query heads, which share the width of a token.
fn full_heads(hidden: usize, heads: usize) -> AttentionShape {
    AttentionShape {
        hidden,
        heads,
        kv_heads: heads,
        head_dim: hidden / heads.max(1),
    }
}

fn block_weights<'a>(
    shape: AttentionShape,
    key: &'a Linear,
    value: &'a Linear,
    output: &'a Linear,
) -> BlockWeights<'a> {
    BlockWeights {
        shape,
        wk: &key.weight,
        bk: &key.bias,
        wv: &value.weight,
        bv: &value.bias,
        wo: &output.weight,
    }
}
