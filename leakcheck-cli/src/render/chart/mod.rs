//! The heap over time as a picture: live memory stacked by site, resident memory beside it.
//!
//! Text is drawn with fonts inside the program: no system font or library takes part.

mod draw;
mod panel;

use super::CheckReport;
use draw::{Canvas, DrawError};
use panel::Panel;
use plotters::prelude::{BitMapBackend, IntoDrawingArea, SVGBackend};
use std::fmt;

/// A picture's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Picture {
    /// Pixels.
    Png,
    /// Vectors.
    Svg,
}

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChartOptions {
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
    /// How many sites get a colour of their own.
    pub(crate) top: usize,
}

/// The picture could not be drawn: the drawing library refused.
#[derive(Debug)]
pub(crate) struct ChartError(String);

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the picture could not be drawn ({})", self.0)
    }
}

impl std::error::Error for ChartError {}

/// Below this height a panel cannot be read.
const PANEL_HEIGHT_MIN: u32 = 300;
/// Drawn this much larger and scaled down, which smooths lines and edges; [`scaled_down`] knows this number too.
const SMOOTHING: u32 = 2;

/// The bytes of the picture.
pub(crate) fn chart(report: &CheckReport, picture: Picture, options: ChartOptions) -> Result<Vec<u8>, ChartError> {
    let panels = panels(report, options);
    match picture {
        Picture::Png => png(&panels, options.size).map_err(|e| ChartError(e.to_string())),
        Picture::Svg => svg(&panels, options.size).map(String::into_bytes).map_err(|e| ChartError(e.to_string())),
    }
}

/// One per process; when they do not all fit, those with most live memory.
fn panels(report: &CheckReport, options: ChartOptions) -> Vec<Panel> {
    let fit = (options.size.1 / PANEL_HEIGHT_MIN).max(1) as usize;
    let mut places: Vec<usize> = (0..report.processes.len()).collect();
    let peak = |place: &usize| {
        let moments = &report.processes[*place].series.moments;
        moments.iter().map(|moment| moment.totals.live().bytes).max()
    };
    places.sort_by_key(|place| std::cmp::Reverse(peak(place)));
    let hidden = places.len().saturating_sub(fit);
    places.truncate(fit);
    places.sort_unstable();
    let rows = draw::legend_rows(options.size.1 / places.len().max(1) as u32);
    let top = options.top.min(rows.saturating_sub(2));
    let mut panels: Vec<Panel> =
        places.iter().map(|place| Panel::new(&report.processes[*place], top, options.size.0)).collect();
    if let Some(last) = panels.last_mut().filter(|_| hidden > 0) {
        last.subtitle.push_str(&format!("; {hidden} more not drawn: a taller picture has room for them"));
    }
    panels
}

fn svg(panels: &[Panel], size: (u32, u32)) -> Result<String, DrawError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        Canvas::new(&root, 1.0).draw(panels)?;
    }
    Ok(text)
}

fn png(panels: &[Panel], (width, height): (u32, u32)) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let large = (width * SMOOTHING, height * SMOOTHING);
    let mut pixels = vec![255; large.0 as usize * large.1 as usize * 3];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        Canvas::new(&root, f64::from(SMOOTHING)).draw(panels)?;
    }
    let pixels = scaled_down(&pixels, width as usize);
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Large areas of one colour: filters gain nothing.
    encoder.set_filter(png::Filter::NoFilter);
    encoder.add_text_chunk("Software".to_owned(), format!("leakcheck {}", env!("CARGO_PKG_VERSION")))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(out)
}

/// The mean of each square of two by two pixels.
fn scaled_down(pixels: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(width * 12) {
        let (upper, lower) = rows.split_at(width * 6);
        for (a, b) in upper.as_chunks::<6>().0.iter().zip(lower.as_chunks::<6>().0) {
            for channel in [0, 1, 2] {
                let sum = u16::from(a[channel])
                    + u16::from(a[channel + 3])
                    + u16::from(b[channel])
                    + u16::from(b[channel + 3]);
                out.push((sum / 4) as u8);
            }
        }
    }
    out
}
