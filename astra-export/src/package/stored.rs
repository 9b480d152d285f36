//! A source in the weights of a bundle.

use astra_bundle::{BundleWriter, ExactBlock, Family, ImageInput, Matrix, Shape, Task, TextInput};

use super::PackageError;
use crate::family::NamedGraph;
use crate::family::bert::{self, StoredBert};
use crate::family::decoder::{self, SINK, StoredDecoder};
use crate::family::vit::{self, StoredVit};
use crate::source::{ImportedText, ImportedVit, TextModel};

/// Most patches a side: the tokens of an input are numbered with 16 bits.
pub(super) const MAX_SIDE: usize = 255;

/// A model in the weights of a bundle, and what a manifest says of it.
pub(super) struct Stored {
    pub(super) family: Family,
    pub(super) task: Task,
    pub(super) shape: Shape,
    pub(super) image: Option<ImageInput>,
    pub(super) text: Option<TextInput>,
    /// Every matrix, where one of them is in blocks.
    pub(super) matrices: Vec<Matrix>,
    pub(super) exact: Vec<ExactBlock>,
    pub(super) graphs: Vec<NamedGraph>,
}

impl Stored {
    pub(super) fn image(
        writer: &mut BundleWriter,
        vit: &ImportedVit,
        size: usize,
    ) -> Result<Self, PackageError> {
        let patch = vit.model.patch;
        let side = side(size, patch)?;
        let positions = &vit.model.positions;
        if !positions.reaches(side) {
            let expected = positions.side() * patch;
            return Err(PackageError::FixedPositions { size, expected });
        }
        let stored = StoredVit::store(writer, &vit.model, &vit.input.scale, side)?;
        let task = stored.task();
        Ok(Self {
            family: Family::Vit,
            shape: stored.shape,
            image: Some(ImageInput {
                size,
                patch,
                fit: vit.input.fit,
                filter: vit.input.filter,
                resize: vit.input.fit.crops().then(|| vit.input.resize_for(size)),
                map_size: (task == Task::Saliency).then_some([size, size]),
                head_rows: stored.head_rows(),
            }),
            text: None,
            task,
            graphs: vit::graphs(&stored),
            matrices: if_narrow(stored.matrices()),
            exact: stored.exact,
        })
    }

    pub(super) fn text(
        writer: &mut BundleWriter,
        text: &ImportedText,
        max_tokens: Option<usize>,
    ) -> Result<Self, PackageError> {
        let sink = match &text.model {
            TextModel::Decoder(_) => SINK,
            TextModel::Bert(_) => 0,
        };
        let (least, most) = (sink + 1, text.input.max_tokens);
        let found = max_tokens.unwrap_or(most);
        if !(least..=most).contains(&found) {
            return Err(PackageError::Tokens { found, least, most });
        }
        writer.file(&text.input.tokenizer, &text.tokenizer)?;
        let (family, task, shape, (matrices, exact), graphs) = match &text.model {
            TextModel::Decoder(model) => {
                let stored = StoredDecoder::store(writer, model, found)?;
                let graphs = decoder::graphs(&stored);
                let matrices = stored.matrices();
                (
                    model.family,
                    Task::Generation,
                    stored.shape,
                    (matrices, stored.exact),
                    graphs,
                )
            }
            TextModel::Bert(model) => {
                let stored = StoredBert::store(writer, model, found)?;
                let graphs = bert::graphs(&stored);
                let stored_matrices = (stored.matrices(), stored.exact);
                let task = Task::Embedding(stored.embedding_head);
                (Family::Bert, task, stored.shape, stored_matrices, graphs)
            }
        };
        let input = TextInput {
            max_tokens: found,
            ..text.input.clone()
        };
        Ok(Self {
            family,
            task,
            shape,
            image: None,
            text: Some(input),
            matrices: if_narrow(matrices),
            exact,
            graphs,
        })
    }
}

/// A manifest lists matrices only where one of them is in blocks.
fn if_narrow(matrices: Vec<Matrix>) -> Vec<Matrix> {
    match matrices.iter().any(|matrix| matrix.blocks.is_some()) {
        true => matrices,
        false => Vec::new(),
    }
}

/// Patches a side.
fn side(size: usize, patch: usize) -> Result<usize, PackageError> {
    let side = size.checked_div(patch).unwrap_or(0);
    if (1..=MAX_SIDE).contains(&side) && side * patch == size {
        return Ok(side);
    }
    Err(PackageError::Size { size, patch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_of_patches() {
        for (size, patch, expected) in
            [(224, 14, 16), (518, 14, 37), (224, 16, 14), (3570, 14, 255)]
        {
            assert_eq!(side(size, patch).unwrap(), expected);
        }
        for (size, patch) in [
            (0, 14),
            (13, 14),
            (225, 14),
            (3584, 14),
            (usize::MAX, 1),
            (14, 0),
        ] {
            let refusal = side(size, patch).unwrap_err().to_string();
            assert!(refusal.contains(&format!(
                "size: found {size}, expected a multiple of {patch}"
            )));
        }
    }
}
