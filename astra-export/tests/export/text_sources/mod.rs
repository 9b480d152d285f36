//! Directories and GGUF files of models that read, written here, read back.

mod bert;
mod directory;
mod fields;
mod files;
mod gguf;
mod gpt2;
mod llama;
mod tokens;

use std::collections::BTreeMap;

use astra_export::family::decoder::Decoder;
use astra_export::family::weights::{Linear, Norm};
use astra_export::source::{Content, ImportedText, TextModel};

use crate::models::HIDDEN;

/// Dimensions and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn text(content: Content) -> ImportedText {
    match content {
        Content::Text(text) => text,
        Content::Image(_) => panic!("a model that sees"),
    }
}

fn decoder(text: &ImportedText) -> &Decoder {
    match &text.model {
        TextModel::Decoder(decoder) => decoder,
        TextModel::Bert(_) => panic!("a BERT"),
    }
}

fn put(tensors: &mut Tensors, name: &str, dims: &[usize], values: &[f32]) {
    tensors.insert(name.to_owned(), (dims.to_vec(), values.to_vec()));
}

/// As PyTorch keeps it, `[outputs, inputs]`.
fn put_linear(tensors: &mut Tensors, name: &str, linear: &Linear) {
    let turned = Linear::from_transposed(linear.outputs, linear.inputs, &linear.weight, Vec::new());
    let dims = [linear.outputs, linear.inputs];
    put(tensors, &format!("{name}.weight"), &dims, &turned.weight);
    if linear.bias.iter().any(|&value| value != 0.0) {
        put(
            tensors,
            &format!("{name}.bias"),
            &[linear.outputs],
            &linear.bias,
        );
    }
}

fn put_norm(tensors: &mut Tensors, name: &str, norm: &Norm) {
    put(tensors, &format!("{name}.weight"), &[HIDDEN], &norm.weight);
    put(tensors, &format!("{name}.bias"), &[HIDDEN], &norm.bias);
}
