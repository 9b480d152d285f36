//! Tables in plain text.

use std::fmt;

/// Writes rows with their first column aligned left and the others right, each as wide as its widest cell.
///
/// # Errors
/// What `f` returns.
pub fn table<const N: usize>(f: &mut impl fmt::Write, rows: &[[String; N]]) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["name", "ms"], ["å", "12.5"]].map(|row| row.map(str::to_owned));
        let mut text = String::new();
        table(&mut text, &rows).unwrap();
        assert_eq!(text, "name    ms\nå     12.5\n");
    }
}
