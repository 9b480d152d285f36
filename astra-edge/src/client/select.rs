//! The device that a name stands for.

use astra_wire::{DeviceId, Hello};

/// Fewest digits of an id that match a device: fewer could be meant as a name.
const MIN_DIGITS: usize = 4;

/// The device with this name, or else the one whose id begins with it. Without a name, the fastest; of several equally fast, the one
/// with the lowest id.
///
/// # Errors
/// The ids of all devices that match, where there are several.
pub(super) fn select_device<'a>(
    devices: &[&'a Hello],
    name: Option<&str>,
) -> Result<Option<&'a Hello>, Vec<DeviceId>> {
    let Some(name) = name else {
        let fastest = devices
            .iter()
            .min_by_key(|hello| (hello.speed, hello.device));
        return Ok(fastest.copied());
    };
    let by_name: Vec<&Hello> = matching(devices, |hello| hello.name == name);
    let found = match by_name.is_empty() && name.len() >= MIN_DIGITS {
        true => matching(devices, |hello| begins(hello.device, name)),
        false => by_name,
    };
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => Err(several.iter().map(|hello| hello.device).collect()),
    }
}

fn matching<'a>(devices: &[&'a Hello], is: impl Fn(&Hello) -> bool) -> Vec<&'a Hello> {
    devices.iter().filter(|hello| is(hello)).copied().collect()
}

fn begins(device: DeviceId, digits: &str) -> bool {
    device.to_string().starts_with(&digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose id is this byte over and over.
    fn device(id: u8, name: &str, speed: u32) -> Hello {
        Hello {
            min_version: astra_wire::MIN_VERSION,
            max_version: astra_wire::VERSION,
            device: DeviceId([id; 16]),
            name: name.parse().unwrap(),
            software: Default::default(),
            runtime: Default::default(),
            key: [0; 8],
            bundle: [0; 32],
            model: Default::default(),
            speed,
            addresses: Default::default(),
        }
    }

    #[test]
    fn a_name_an_id_or_its_first_digits_select_a_device() {
        let [hall, attic] = [device(0xab, "hall", 900), device(0xac, "attic", 800)];
        let devices = [&hall, &attic];
        for (name, expected) in [
            (None, Some(&attic)),
            (Some("hall"), Some(&hall)),
            (Some("abababababababababababababababab"), Some(&hall)),
            (Some("ACAC"), Some(&attic)),
            (Some("Hall"), None),
            // Too short to be meant as an id.
            (Some("aba"), None),
            (Some("acad"), None),
        ] {
            assert_eq!(select_device(&devices, name), Ok(expected), "{name:?}");
        }
        assert_eq!(select_device(&[], None), Ok(None));
    }

    #[test]
    fn what_matches_two_devices_is_refused() {
        let [first, second] = [device(1, "hall", 900), device(2, "hall", 800)];
        let devices = [&first, &second];
        let both = vec![first.device, second.device];
        assert_eq!(select_device(&devices, Some("hall")), Err(both));
        assert_eq!(select_device(&devices, Some("0101")), Ok(Some(&first)));
        assert_eq!(select_device(&devices, None), Ok(Some(&second)));
        // The first digits of two ids, one of which could be a name that neither has.
        let close = Hello {
            device: DeviceId([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9]),
            ..device(0, "attic", 1)
        };
        let both = vec![first.device, close.device];
        assert_eq!(select_device(&[&first, &close], Some("0101")), Err(both));
        // A name counts before an id that begins with it.
        let other = device(7, "0101", 1);
        assert_eq!(
            select_device(&[&first, &other], Some("0101")),
            Ok(Some(&other))
        );
    }
}
