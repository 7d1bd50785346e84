//! The rows, one a file.

/// Subjects that do their work over streams made anew for each of their runs, on one thread.
macro_rules! over {
    ($streams:expr; $($name:literal => $work:path $(, $argument:expr)*;)*) => {
        vec![$($crate::measure::Subject::new($name, move || {
            $crate::streams::one_thread()?.block_on(async move {
                let (near, far) = $streams;
                $work(near, far $(, $argument)*).await
            })
        })),*]
    };
}

mod b1;
mod b1d;
mod b2;
mod b3;
mod b4;
mod b4r;
mod b5;
mod b6;
mod b7;
mod growth;
#[cfg(target_os = "linux")]
mod pace;

pub(crate) use b7::join;

use crate::Result;
use crate::arguments::Arguments;
use crate::report::Report;

/// A row, by its name.
type Row = (&'static str, fn(&Arguments, &mut Report) -> Result<()>);

const ROWS: &[Row] = &[
    ("b1", b1::run),
    ("b1d", b1d::run),
    ("b2", b2::run),
    ("b3", b3::run),
    ("b4", b4::run),
    ("b4r", b4r::run),
    ("b5", b5::run),
    ("b5s", b5::run_slow),
    ("b6", b6::run),
    ("b7", b7::run),
    ("b7p", b7::run_crowds),
    ("growth", growth::run),
    #[cfg(target_os = "linux")]
    ("pace", pace::run),
];

/// Runs what was asked for.
///
/// # Errors
///
/// For a name that there is not, and whatever goes wrong.
pub fn run(arguments: &Arguments, report: &mut Report) -> Result<()> {
    for name in &arguments.rows {
        if name != "all" && !ROWS.iter().any(|(row, _)| row == name) {
            return Err(format!("there is no row {name}").into());
        }
    }
    for &(name, row) in ROWS {
        if arguments.rows.iter().any(|asked| asked == name || asked == "all") {
            row(arguments, report).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}
