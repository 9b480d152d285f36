//! The settings of the codec that a bundle carries.

use super::FitError;

/// What the axes of a rung are fitted to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BasisKind {
    /// The tokens themselves.
    Plain,
    /// What attention makes of the tokens.
    Attention,
}

/// One setting of the codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RungSpec {
    /// Axes coded, R.
    pub rank: usize,
    /// Groups, G.
    pub groups: usize,
    /// Bits of a code, log2 K.
    pub code_bits: u32,
    /// What its axes keep.
    pub basis: BasisKind,
    /// Whether it codes differences to a prediction from the block before. It then has a basis of its own.
    pub predicted: bool,
}

impl BasisKind {
    /// Its name in a bundle.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Attention => "attention",
        }
    }
}

impl RungSpec {
    /// The rungs of a model whose tokens are `hidden` wide, by ascending bits.
    ///
    /// Fewer axes make the receivers' work per remote token smaller; each rung has as few as its bits can serve. With ten bits
    /// for a whole token no direction can be told from another well enough for the metric to help. Prediction makes the most of few
    /// bits; with very many there is little left for it to save.
    pub fn table(hidden: usize) -> Vec<Self> {
        let rung = |groups: usize, code_bits, share: usize, basis, predicted| Self {
            rank: (hidden / share).max(groups),
            groups,
            code_bits,
            basis,
            predicted,
        };
        let rungs = [
            rung(1, 10, 4, BasisKind::Plain, false),
            rung(4, 10, 4, BasisKind::Attention, true),
            rung(10, 8, 4, BasisKind::Attention, true),
            rung(20, 8, 4, BasisKind::Attention, true),
            rung(40, 8, 2, BasisKind::Attention, true),
            rung(80, 8, 1, BasisKind::Attention, false),
        ];
        // A narrow model has no use for more groups than it has axes.
        rungs.into_iter().filter(|r| r.rank <= hidden).collect()
    }

    /// Bits a token a block: the rung's name.
    pub fn bits(&self) -> u32 {
        self.groups as u32 * self.code_bits
    }

    /// Name of its basis in a bundle.
    pub fn basis_name(&self) -> String {
        if self.predicted {
            format!("predicted-{}", self.bits())
        } else {
            self.basis.name().to_owned()
        }
    }

    /// Words a codebook, K.
    pub fn words(&self) -> usize {
        1 << self.code_bits
    }

    pub(crate) fn check(&self, hidden: usize) -> Result<(), FitError> {
        let axes = self.groups <= self.rank && self.rank <= hidden;
        if self.groups > 0 && axes && (1..=16).contains(&self.code_bits) {
            return Ok(());
        }
        Err(FitError::Rung {
            bits: self.bits(),
            groups: self.groups,
            rank: self.rank,
            hidden,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_ranks_are_the_design_s() {
        let table = RungSpec::table(384);
        let seen: Vec<_> = table.iter().map(|r| (r.bits(), r.rank)).collect();
        let expected = [
            (10, 96),
            (40, 96),
            (80, 96),
            (160, 96),
            (320, 192),
            (640, 384),
        ];
        assert_eq!(seen, expected);
        let table = RungSpec::table(576);
        let seen: Vec<_> = table.iter().map(|r| (r.bits(), r.rank)).collect();
        let expected = [
            (10, 144),
            (40, 144),
            (80, 144),
            (160, 144),
            (320, 288),
            (640, 576),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn rungs_in_the_middle_predict() {
        let table = RungSpec::table(384);
        let predicted = table.iter().filter(|rung| rung.predicted);
        let names: Vec<_> = predicted.map(RungSpec::basis_name).collect();
        let expected = [
            "predicted-40",
            "predicted-80",
            "predicted-160",
            "predicted-320",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_narrow_model_keeps_the_rungs_it_can_fill() {
        let table = RungSpec::table(32);
        assert_eq!(table.last().map(RungSpec::bits), Some(160));
        assert!(table.iter().all(|rung| rung.check(32).is_ok()));
    }
}
