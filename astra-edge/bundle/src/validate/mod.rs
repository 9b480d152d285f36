//! Which manifests are possible, as far as their own text shows. The files are checked by [`Bundle::open`](crate::Bundle::open).

mod rung;

use std::collections::BTreeSet;

use crate::checks::{MAX_HIDDEN, in_range, require};
use crate::error::Invalid;
use crate::layout::{
    CODEBOOKS_FILE, FORMAT, FORMAT_OF_BLOCKS, MANIFEST_FILE, WEIGHTS_FILE, check_file_name,
    exact_name, graph_file,
};
use crate::manifest::{Basis, ExactBlock, Manifest, Task, TextInput};
use crate::shape::Shape;

/// A token's position is 16 bits on the wire.
const MAX_TOKENS: usize = 65_535;
/// A block's number is 8 bits on the wire.
const MAX_BLOCKS: usize = 255;
/// Far above any tokenizer; a head of that many rows would be gigabytes.
const MAX_VOCAB: usize = 1 << 24;

impl Manifest {
    /// Checks every value that can be checked without the files.
    ///
    /// # Errors
    /// The first value that contradicts the format or another value.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_matrices()?;
        self.shape.validate()?;
        self.validate_input()?;
        self.validate_bases()?;
        self.validate_exact()?;
        self.validate_rungs()?;
        self.validate_files()
    }

    /// One matrix at least is stored in blocks, or the bundle is one of the format without.
    fn validate_matrices(&self) -> Result<(), Invalid> {
        let narrow = self.matrices.iter().any(|matrix| matrix.blocks.is_some());
        let (format, which) = match narrow {
            true => (FORMAT_OF_BLOCKS, "one with matrices in blocks"),
            false => (FORMAT, "one without matrices in blocks"),
        };
        let expected = format!("{format}, {which}");
        require(self.format == format, "format", self.format, expected)?;
        require(
            narrow || self.matrices.is_empty(),
            "matrices",
            format!("{} in float32", self.matrices.len()),
            "none, or one in blocks",
        )?;
        let mut names = BTreeSet::new();
        for (i, matrix) in self.matrices.iter().enumerate() {
            matrix.validate(&format!("matrices[{i}]"))?;
            require(
                names.insert(&matrix.name),
                format!("matrices[{i}].name"),
                format!("{:?} again", matrix.name),
                "another name for every matrix",
            )?;
        }
        Ok(())
    }

    /// Exact mode decodes with matrices, or with graphs where there are matrices in blocks.
    fn validate_exact(&self) -> Result<(), Invalid> {
        let blocks = self.shape.blocks;
        if self.exact.is_empty() && !self.matrices.is_empty() {
            let mut names = (0..blocks).map(|block| graph_file(&exact_name(block)));
            return match names.find(|name| !self.files.contains_key(name)) {
                None => Ok(()),
                Some(name) => Err(Invalid::new(
                    "files",
                    format!("no {name}"),
                    "an entry for it, as there are no matrices for exact mode",
                )),
            };
        }
        let exact = self.exact.len();
        require(exact == blocks, "exact", format!("{exact} blocks"), blocks)?;
        for (b, block) in self.exact.iter().enumerate() {
            block.validate(&format!("exact[{b}]"), &self.shape)?;
        }
        Ok(())
    }

    fn validate_input(&self) -> Result<(), Invalid> {
        let missing = |field, expected| Invalid::new(field, "nothing", expected);
        if self.family.is_text() {
            let text = self.text.as_ref();
            let text = text.ok_or_else(|| missing("text", "how a text becomes the input"))?;
            text.validate(&self.shape)?;
            let tokenizer = &text.tokenizer;
            require(
                self.files.contains_key(tokenizer),
                "files",
                format!("no {tokenizer}"),
                "an entry for it, the tokenizer",
            )?;
        } else {
            let image = self.image.as_ref();
            let image = image.ok_or_else(|| missing("image", "how an image becomes the input"))?;
            image.validate(&self.shape)?;
        }
        self.validate_task()
    }

    fn validate_task(&self) -> Result<(), Invalid> {
        let map_size = self.image.and_then(|image| image.map_size);
        let needs = match self.task {
            Task::Saliency if map_size.is_none() => {
                return Err(Invalid::new(
                    "image.map_size",
                    "nothing",
                    "height and width of the saliency map",
                ));
            }
            Task::Saliency => (!self.family.is_text(), "saliency", "one that sees"),
            Task::Classification { .. } => {
                (!self.family.is_text(), "classification", "one that sees")
            }
            Task::Generation => (self.family.is_causal(), "generation", "a causal one"),
            Task::Embedding(ref embedding) => {
                embedding.validate(&self.shape)?;
                (self.family.is_text(), "embedding", "one that reads")
            }
            Task::Features => (true, "features", "any"),
        };
        let (possible, task, family) = needs;
        require(
            possible,
            "task",
            format!("{task} by the family {:?}", self.family),
            format!("{family} for it"),
        )
    }

    fn validate_bases(&self) -> Result<(), Invalid> {
        for (i, basis) in self.bases.iter().enumerate() {
            basis.validate(&format!("bases[{i}]"), &self.shape)?;
            let before = self.bases.iter().take(i);
            require(
                before.clone().all(|other| other.name != basis.name),
                format!("bases[{i}].name"),
                format!("{:?} again", basis.name),
                "another name for every basis",
            )?;
        }
        Ok(())
    }

    fn validate_rungs(&self) -> Result<(), Invalid> {
        let mut below = 0;
        for (i, rung) in self.rungs.iter().enumerate() {
            rung.validate(&format!("rungs[{i}]"), &self.bases, &self.shape)?;
            require(
                rung.bits > below,
                format!("rungs[{i}].bits"),
                rung.bits,
                format!("more than {below}, rungs ascending by bits"),
            )?;
            below = rung.bits;
        }
        Ok(())
    }

    fn validate_files(&self) -> Result<(), Invalid> {
        for name in self.files.keys() {
            check_file_name("files", name)?;
            require(
                name != MANIFEST_FILE,
                "files",
                name,
                "every file but the manifest itself",
            )?;
        }
        for name in [WEIGHTS_FILE, CODEBOOKS_FILE] {
            require(
                self.files.contains_key(name),
                "files",
                format!("no {name}"),
                "an entry for it",
            )?;
        }
        Ok(())
    }
}

impl Shape {
    /// Checks the ranges of the format: all dimensions above zero except `class_tokens`; at most 65,535 tokens of either
    /// kind, 255 blocks and 8,192 channels, per token and over all heads; `heads` a multiple of `kv_heads`.
    ///
    /// # Errors
    /// The first dimension out of range.
    pub fn validate(&self) -> Result<(), Invalid> {
        in_range("shape.hidden", self.hidden, 1..=MAX_HIDDEN)?;
        in_range("shape.heads", self.heads, 1..=MAX_HIDDEN)?;
        in_range("shape.kv_heads", self.kv_heads, 1..=self.heads)?;
        require(
            self.heads.is_multiple_of(self.kv_heads),
            "shape.kv_heads",
            self.kv_heads,
            format!("a divisor of the {} heads", self.heads),
        )?;
        in_range("shape.head_dim", self.head_dim, 1..=MAX_HIDDEN / self.heads)?;
        in_range("shape.blocks", self.blocks, 1..=MAX_BLOCKS)?;
        in_range("shape.tokens", self.tokens, 1..=MAX_TOKENS)?;
        in_range("shape.class_tokens", self.class_tokens, 0..=MAX_TOKENS)
    }
}

impl TextInput {
    fn validate(&self, shape: &Shape) -> Result<(), Invalid> {
        check_file_name("text.tokenizer", &self.tokenizer)?;
        in_range("text.vocab", self.vocab, 1..=MAX_VOCAB)?;
        let own = shape.class_tokens;
        require(
            self.max_tokens.checked_sub(own) == Some(shape.tokens),
            "text.max_tokens",
            self.max_tokens,
            format!("{} divided tokens and {own} before them", shape.tokens),
        )?;
        let ids = self.bos.iter().map(|id| ("text.bos", id));
        for (field, &id) in ids.chain(self.eos.iter().map(|id| ("text.eos", id))) {
            let known = usize::try_from(id).is_ok_and(|id| id < self.vocab);
            require(known, field, id, format!("below {}", self.vocab))?;
        }
        require(
            !self.add_bos || self.bos.is_some(),
            "text.bos",
            "nothing",
            "the id to put before a text",
        )
    }
}

impl Basis {
    fn validate(&self, field: &str, shape: &Shape) -> Result<(), Invalid> {
        let blocks = self.blocks.len();
        require(
            blocks == shape.blocks,
            format!("{field}.blocks"),
            format!("{blocks} blocks"),
            shape.blocks,
        )?;
        let kv = 2 * shape.kv_width();
        for (b, block) in self.blocks.iter().enumerate() {
            let at = |name| format!("{field}.blocks[{b}].{name}");
            let rank = block.rank;
            in_range(at("rank"), rank, 1..=shape.hidden)?;
            block.enc_w.validate(&at("enc_w"), &[rank, shape.hidden])?;
            block.enc_b.validate(&at("enc_b"), &[rank])?;
            block.dec_w.validate(&at("dec_w"), &[rank, kv])?;
            block.dec_b.validate(&at("dec_b"), &[kv])?;
        }
        Ok(())
    }
}

impl ExactBlock {
    fn validate(&self, field: &str, shape: &Shape) -> Result<(), Invalid> {
        let kv = 2 * shape.kv_width();
        self.dec_w
            .validate(&format!("{field}.dec_w"), &[shape.hidden, kv])?;
        self.dec_b.validate(&format!("{field}.dec_b"), &[kv])
    }
}
