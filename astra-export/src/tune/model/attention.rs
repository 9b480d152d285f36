//! Attention of every member over its own rows and what it has of the others.

use candle_core::{Result, Tensor};

use super::{Block, Division, Rotary, Transformer};
use crate::tune::ops::Softmax;

/// Keys and values of all divided tokens as receivers decode them, `[T, W]` each.
#[derive(Clone, Debug)]
pub(in crate::tune) struct Remote {
    pub(in crate::tune) keys: Tensor,
    pub(in crate::tune) values: Tensor,
}

/// Keys and values of a member, or of some of its rows.
type KeysAndValues = [Tensor; 2];

impl Transformer {
    /// x after `block`, `[class rows + tokens, D]`, from x and its normalized rows. `remote` has what each member decoded, or one
    /// entry that is the same for all; nothing where there is one member.
    pub(in crate::tune) fn block(
        &self,
        block: &Block,
        (x, n): (&Tensor, &Tensor),
        remote: &[Remote],
        division: &Division,
    ) -> Result<Tensor> {
        let [query, key, value] = [&block.query, &block.key, &block.value].map(|map| map.apply(n));
        let (mut query, mut key, value) = (query?, key?, value?);
        let class = division.class_rows();
        let mut remote = remote.to_vec();
        if let Some(rotary) = &self.rotary {
            let head = self.shape.head_dim;
            query = rotary.turn(&query, head, 0)?;
            key = rotary.turn(&key, head, 0)?;
            for remote in &mut remote {
                remote.keys = rotary.turn(&remote.keys, head, class)?;
            }
        }
        let own = [key, value];
        let mut class_rows = Vec::new();
        let mut token_rows = Vec::new();
        if division.causal && class > 0 {
            let rows = own.each_ref().map(|all| all.narrow(0, 0, class));
            let [keys, values] = rows;
            let query = query.narrow(0, 0, class)?;
            class_rows.push(self.attend(&query, &[keys?, values?])?);
        }
        for (member, range) in division.ranges.iter().enumerate() {
            let remote = remote.get(member).or(remote.first());
            let seen = Self::seen(&own, remote, division, member)?;
            let tokens = query.narrow(0, class + range.start, range.len())?;
            if division.causal || division.class == 0 {
                token_rows.push(self.attend(&tokens, &seen)?);
                continue;
            }
            let first = division.first_class_row(member);
            let classes = query.narrow(0, first, division.class)?;
            let mixed = self.attend(&Tensor::cat(&[classes, tokens], 0)?, &seen)?;
            class_rows.push(mixed.narrow(0, 0, division.class)?);
            token_rows.push(mixed.narrow(0, division.class, range.len())?);
        }
        class_rows.extend(token_rows);
        block.finish(x, &Tensor::cat(&class_rows, 0)?)
    }

    /// Keys and values of what a member attends to: class tokens, tokens before its own, its own, and in an encoder those after.
    fn seen(
        own: &KeysAndValues,
        remote: Option<&Remote>,
        division: &Division,
        member: usize,
    ) -> Result<KeysAndValues> {
        let range = division.ranges.get(member).cloned().unwrap_or_default();
        let (class, tokens) = (division.class_rows(), division.tokens());
        let first = division.first_class_row(member);
        let remote = remote.map(|remote| [&remote.keys, &remote.values]);
        let mut seen = Vec::with_capacity(2);
        for (which, own) in own.iter().enumerate() {
            let mut parts = Vec::with_capacity(4);
            if division.class > 0 {
                parts.push(own.narrow(0, first, division.class)?);
            }
            let remote = remote.and_then(|remote| remote.get(which).copied());
            if let Some(remote) = remote.filter(|_| range.start > 0) {
                parts.push(remote.narrow(0, 0, range.start)?);
            }
            parts.push(own.narrow(0, class + range.start, range.len())?);
            let after = tokens - range.end;
            if let Some(remote) = remote.filter(|_| after > 0 && !division.causal) {
                parts.push(remote.narrow(0, range.end, after)?);
            }
            seen.push(Tensor::cat(&parts, 0)?);
        }
        <[Tensor; 2]>::try_from(seen)
            .map_err(|_| candle_core::Error::msg("found no keys and values, expected both"))
    }

    /// Softmax attention of `[m, heads * head_dim]` queries; where the model is causal, the queries are the last of the keys.
    fn attend(&self, query: &Tensor, [keys, values]: &KeysAndValues) -> Result<Tensor> {
        let (heads, kv_heads, width) = (self.shape.heads, self.shape.kv_heads, self.shape.head_dim);
        let by_head = |rows: &Tensor, heads: usize| {
            let rows = rows.reshape((rows.dim(0)?, heads, width))?;
            rows.transpose(0, 1)?.contiguous()
        };
        let (rows, seen) = (query.dim(0)?, keys.dim(0)?);
        let query = by_head(query, heads)?;
        let query = query.reshape((kv_heads, heads / kv_heads * rows, width))?;
        let (keys, values) = (by_head(keys, kv_heads)?, by_head(values, kv_heads)?);
        let scores = query.matmul(&keys.transpose(1, 2)?)?;
        let softmax = Softmax {
            scale: 1.0 / (width as f32).sqrt(),
            causal: self.causal,
        };
        let shares = softmax.apply(&scores.reshape((heads, rows, seen))?)?;
        let shares = shares.reshape((kv_heads, heads / kv_heads * rows, seen))?;
        let mixed = shares.matmul(&values)?.reshape((heads, rows, width))?;
        mixed.transpose(0, 1)?.reshape((rows, heads * width))
    }
}

impl Rotary {
    /// Rows that begin at position `first`, `[m, heads * head]`: channel i of a head turned with channel i + head / 2.
    fn turn(&self, rows: &Tensor, head: usize, first: usize) -> Result<Tensor> {
        let (count, width) = rows.dims2()?;
        let halves = rows.reshape((count, width / head, 2, head / 2))?;
        let [cos, sin] = [&self.cos, &self.sin].map(|table| {
            let rows = table.narrow(0, first, count)?;
            rows.reshape((count, 1, head / 2))
        });
        let (cos, sin) = (cos?, sin?);
        let (a, b) = (
            halves.narrow(2, 0, 1)?.squeeze(2)?,
            halves.narrow(2, 1, 1)?.squeeze(2)?,
        );
        let turned = [
            (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?,
            (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?,
        ];
        Tensor::stack(&turned, 2)?.reshape((count, width))
    }
}
