//! A text on all members, each a thread.

use std::sync::Arc;
use std::sync::mpsc;

use astra_edge::gather::Gather;
use astra_edge::job::{DataPath, Job, JobOutput};
use astra_edge::plan::Plan;
use astra_model::engine::{Decoder, LanguageHead, Modality, OwnedInput};

use crate::LONG;
use crate::common::Bed;
use crate::common::wire::{Wire, ranges};

/// A member's part of one text, on a thread of its own.
pub(crate) struct Part {
    pub(crate) outcome: JobOutput,
    /// On the member that generates.
    pub(crate) decoder: Option<Decoder>,
}

/// Runs a text with a thread per member; `lost` sends nothing, and the others know that it has left.
pub(crate) fn run(
    bed: &Bed,
    rung: u16,
    sizes: &[u16],
    ids: &[u32],
    lost: Option<usize>,
) -> Vec<Part> {
    let modality = Modality::of(bed.bundle.manifest());
    let codec = bed.codec(rung);
    let layouts: Vec<_> = codec.layouts().collect();
    let plan = Arc::new(Plan {
        id: 1,
        version: astra_wire::VERSION,
        epoch: 1,
        rung,
        causal: modality.is_causal(),
        ranges: ranges(sizes),
    });
    let (senders, receivers): (Vec<_>, Vec<_>) = sizes.iter().map(|_| mpsc::channel()).unzip();
    let members: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(me, frames)| {
            let (plan, senders) = (Arc::clone(&plan), senders.clone());
            let layouts = layouts.clone();
            let (bundle, runtime, ids) =
                (Arc::clone(&bed.bundle), bed.runtime.clone(), ids.to_vec());
            let lose = usize::from(lost == Some(me));
            std::thread::spawn(move || {
                let wire = Wire::new(frames, plan.receivers(me), lose, layouts);
                let bed = Bed { runtime, bundle };
                let lost = lost.filter(|lost| *lost != me);
                member(&bed, &plan, me, wire, &senders, &ids, lost)
            })
        })
        .collect();
    members.into_iter().map(|m| m.join().unwrap()).collect()
}

fn member(
    bed: &Bed,
    plan: &Arc<Plan>,
    me: usize,
    wire: Wire,
    senders: &[mpsc::Sender<Arc<Gather>>],
    ids: &[u32],
    lost: Option<usize>,
) -> Part {
    let mut model = bed.model();
    let codec = Arc::new(bed.codec(plan.rung));
    let mut path = DataPath::new(&model, codec, Arc::clone(plan), me, Box::new(wire)).unwrap();
    for (other, sender) in senders.iter().enumerate() {
        if plan.senders(me) & (1 << other) != 0 {
            sender.send(Arc::clone(path.gather())).unwrap();
        }
    }
    if let Some(lost) = lost {
        path.gather().member_left(lost);
    }
    let sinks = model.shape().class_tokens;
    let own = &ids[sinks..][plan.ranges[me].indexes()];
    let order = Job {
        request: 0,
        deadline: LONG,
        input: OwnedInput::Ids([&ids[..sinks], own].concat()),
    };
    if !plan.causal || me + 1 < plan.ranges.len() {
        let outcome = path.run(&mut model, &order).unwrap();
        return Part {
            outcome,
            decoder: None,
        };
    }
    let mut decoder = bed.decoder();
    decoder.clear(ids.len()).unwrap();
    let outcome = path
        .run_filling_cache(&mut model, &order, &mut decoder)
        .unwrap();
    if outcome.stats.masked_tokens == 0 {
        decoder.set_tokens(ids, plan.rung);
    }
    Part {
        outcome,
        decoder: Some(decoder),
    }
}

impl Bed {
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::open(&self.runtime, self.bundle.dir(), self.bundle.manifest()).unwrap()
    }

    pub(crate) fn language_head(&self) -> LanguageHead {
        let hidden = self.bundle.manifest().shape.hidden;
        LanguageHead::open(&self.runtime, self.bundle.dir(), hidden).unwrap()
    }
}
