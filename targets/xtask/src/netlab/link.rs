//! Links between devices, and their rates.

use std::str::FromStr;

use clap::ValueEnum;

/// Burst in seconds of the rate: the resolution of the kernel's timers.
const BURST_SECONDS: f64 = 250e-6;
/// Smallest burst in bytes: two packets. A larger one would let small frames pass unshaped.
const LEAST_BURST: f64 = 3000.0;

/// Common links: the payload rate of a wireless LAN by distance and standard, and a wired one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    #[value(name = "wifi-10")]
    Wifi10,
    #[value(name = "wifi-20")]
    Wifi20,
    #[value(name = "wifi-50")]
    Wifi50,
    #[value(name = "wifi-100")]
    Wifi100,
    #[value(name = "ethernet-500")]
    Ethernet500,
}

/// A rate in megabits a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mbps(pub(crate) f64);

/// A named link.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) rate: Mbps,
}

impl FromStr for Mbps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(rate) if (0.1..=10_000.0).contains(&rate) => Ok(Self(rate)),
            _ => Err("expected a number from 0.1 to 10000".to_owned()),
        }
    }
}

impl Mbps {
    /// As `tc` writes it: kilobits are 1,000 bits.
    pub(crate) fn kbit(self) -> String {
        format!("{}kbit", (self.0 * 1e3).round())
    }

    /// Bytes that may be sent at once.
    pub(crate) fn burst(self) -> String {
        let bytes = self.0 * 1e6 / 8.0 * BURST_SECONDS;
        bytes.max(LEAST_BURST).round().to_string()
    }
}

impl From<Preset> for Link {
    fn from(preset: Preset) -> Self {
        let rate = match preset {
            Preset::Wifi10 => 10.0,
            Preset::Wifi20 => 20.0,
            Preset::Wifi50 => 50.0,
            Preset::Wifi100 => 100.0,
            Preset::Ethernet500 => 500.0,
        };
        let value = preset.to_possible_value();
        Self {
            name: value.map_or_else(String::new, |value| value.get_name().to_owned()),
            rate: Mbps(rate),
        }
    }
}

impl From<Mbps> for Link {
    fn from(rate: Mbps) -> Self {
        Self {
            name: format!("{} Mbps", rate.0),
            rate,
        }
    }
}

/// Presets, then rates, in the order given; the fastest Wi-Fi if there are none.
pub(crate) fn links(presets: &[Preset], rates: &[Mbps]) -> Vec<Link> {
    let named = presets.iter().map(|preset| Link::from(*preset));
    let mut links: Vec<Link> = named
        .chain(rates.iter().map(|rate| Link::from(*rate)))
        .collect();
    if links.is_empty() {
        links.push(Preset::Wifi100.into());
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_rate() {
        for preset in Preset::value_variants() {
            let link = Link::from(*preset);
            let (_, rate) = link.name.rsplit_once('-').unwrap();
            assert_eq!(rate.parse::<f64>().unwrap(), link.rate.0);
        }
    }

    #[test]
    fn rates_and_bursts_as_tc_writes_them() {
        let written = |rate: &str| {
            let rate: Mbps = rate.parse().unwrap();
            (rate.kbit(), rate.burst())
        };
        assert_eq!(written("10"), ("10000kbit".to_owned(), "3000".to_owned()));
        assert_eq!(written("2.5"), ("2500kbit".to_owned(), "3000".to_owned()));
        assert_eq!(
            written("500"),
            ("500000kbit".to_owned(), "15625".to_owned())
        );
        assert!("0".parse::<Mbps>().is_err() && "fast".parse::<Mbps>().is_err());
    }

    #[test]
    fn links_come_in_the_order_asked_for() {
        let names = |links: Vec<Link>| links.into_iter().map(|link| link.name).collect::<Vec<_>>();
        let found = links(&[Preset::Wifi100, Preset::Wifi10], &[Mbps(2.5)]);
        assert_eq!(names(found), ["wifi-100", "wifi-10", "2.5 Mbps"]);
        assert_eq!(names(links(&[], &[])), ["wifi-100"]);
    }
}
