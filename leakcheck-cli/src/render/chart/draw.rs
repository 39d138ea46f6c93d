//! Draws panels with plotters, on pixels and vectors alike.

use super::panel::{Layer, LayerKind, Panel};
use crate::units;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};
use std::fmt;
use std::sync::OnceLock;

/// The drawing library refused.
#[derive(Debug)]
pub(super) struct DrawError(String);

impl fmt::Display for DrawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DrawError {}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for DrawError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

type Area<DB> = DrawingArea<DB, Shift>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x7c);
const GRID: RGBColor = RGBColor(0xe6, 0xe8, 0xeb);
const REST: RGBColor = RGBColor(0xc9, 0xce, 0xd6);
const RESIDENT: RGBColor = RGBColor(0x22, 0x26, 0x2b);
const CHECKPOINT: RGBColor = RGBColor(0x8a, 0x5c, 0xd6);
/// Sites that leak are warm, others cool; neighbours differ in lightness too, for people who see colours differently.
const LEAKING: [RGBColor; 8] = [
    RGBColor(0xd6, 0x45, 0x3d),
    RGBColor(0xf0, 0x9a, 0x3e),
    RGBColor(0xb0, 0x2e, 0x6b),
    RGBColor(0xe8, 0xc5, 0x47),
    RGBColor(0x8c, 0x4a, 0x2f),
    RGBColor(0xf2, 0x9d, 0x9d),
    RGBColor(0x7a, 0x1f, 0x1f),
    RGBColor(0xb8, 0x8a, 0x1d),
];
const OTHERS: [RGBColor; 8] = [
    RGBColor(0x3b, 0x7d, 0xc4),
    RGBColor(0x3a, 0xa6, 0x8a),
    RGBColor(0x8f, 0xc3, 0xea),
    RGBColor(0x5b, 0x5f, 0xa8),
    RGBColor(0x9c, 0xd3, 0xb4),
    RGBColor(0x1f, 0x5f, 0x66),
    RGBColor(0xb7, 0xa8, 0xe0),
    RGBColor(0x6b, 0x86, 0xa8),
];

// Pixels, before they are enlarged.
const TITLE_HEIGHT: f64 = 62.0;
const ROW_HEIGHT: f64 = 20.0;
const LEGEND_MARGIN: f64 = 24.0;

/// A place to draw on, with the factor by which everything is enlarged.
pub(super) struct Canvas<'a, DB: DrawingBackend> {
    root: &'a Area<DB>,
    scale: f64,
}

impl<'a, DB: DrawingBackend> Canvas<'a, DB>
where
    DB::ErrorType: Send + Sync,
{
    pub(super) fn new(root: &'a Area<DB>, scale: f64) -> Self {
        register_fonts();
        Self { root, scale }
    }

    /// Draws the panels one below the other.
    pub(super) fn draw(&self, panels: &[Panel]) -> Result<(), DrawError> {
        self.root.fill(&WHITE)?;
        for (area, panel) in self.root.split_evenly((panels.len().max(1), 1)).iter().zip(panels) {
            self.panel(area, panel)?;
        }
        self.root.present()?;
        Ok(())
    }

    fn panel(&self, area: &Area<DB>, panel: &Panel) -> Result<(), DrawError> {
        let (width, height) = area.dim_in_pixel();
        let margin = self.px(18.0);
        let title = fitted(&panel.title, |text| self.width(text, self.title_font()) <= width as i32 - 2 * margin);
        area.draw(&Text::new(title, (margin, self.px(14.0)), self.title_font()))?;
        let subtitle =
            fitted(&panel.subtitle, |text| self.width(text, self.font(12.5, FAINT)) <= width as i32 - 2 * margin);
        area.draw(&Text::new(subtitle, (margin, self.px(39.0)), self.font(12.5, FAINT)))?;
        let top = self.px(TITLE_HEIGHT);
        let rows = panel.layers.len() + usize::from(!panel.resident.is_empty());
        let rows = rows.min(legend_rows((f64::from(height) / self.scale) as u32));
        let legend = self.px(ROW_HEIGHT) * rows as i32 + self.px(LEGEND_MARGIN);
        let (_, below_title) = area.split_vertically(top);
        let (plot, below) = below_title.split_vertically((height as i32 - top - legend).max(1));
        let right_axis = resident_apart(panel);
        self.plot(&plot, panel, right_axis)?;
        self.legend(&below, panel, rows, right_axis)
    }

    fn plot(&self, area: &Area<DB>, panel: &Panel, right_axis: bool) -> Result<(), DrawError> {
        let (x_unit, x_size) = time_unit(panel);
        let xs = time_range(panel, x_size);
        let highest = |line: &[(f64, f64)]| line.iter().map(|point| point.1).fold(0.0, f64::max);
        let stacked = highest(&panel.live).max(highest(&stack_top(panel)));
        let resident = highest(&panel.resident);
        let left = if right_axis { stacked } else { stacked.max(resident) };
        let (y_unit, y_size) = units::byte_unit(left);
        let (right_unit, right_size) = units::byte_unit(resident);
        let left_top = (left / y_size * 1.08).max(1e-9);
        let left_top = if left == 0.0 { 1.0 } else { left_top };
        let height = f64::from(area.dim_in_pixel().1) / self.scale;
        let y_labels = ((height - 60.0) / 45.0).clamp(3.0, 8.0) as usize;
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_left(self.px(10.0))
            .margin_right(if right_axis { self.px(6.0) } else { self.px(24.0) })
            .margin_top(self.px(14.0))
            .x_label_area_size(self.px(40.0))
            .y_label_area_size(self.px(64.0));
        if right_axis {
            builder.right_y_label_area_size(self.px(64.0));
        }
        let right_top = (resident / right_size * 1.08).max(1e-9);
        let mut chart =
            builder.build_cartesian_2d(xs.clone(), 0.0..left_top)?.set_secondary_coord(xs.clone(), 0.0..right_top);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(self.stroke(1.0)))
            .axis_style(FAINT.stroke_width(self.stroke(1.0)))
            .x_labels(9)
            .y_labels(y_labels)
            .x_label_formatter(&|value| axis_number(*value))
            .y_label_formatter(&|value| axis_number(*value))
            .label_style(self.font(12.0, FAINT))
            .axis_desc_style(self.font(12.5, INK))
            .x_desc(format!("time since the recording began, {x_unit}"))
            .y_desc(if right_axis { format!("live, {y_unit}") } else { format!("memory, {y_unit}") })
            .set_all_tick_mark_size(self.px(4.0))
            .draw()?;
        if right_axis {
            chart
                .configure_secondary_axes()
                .axis_style(FAINT.stroke_width(self.stroke(1.0)))
                .y_labels(y_labels)
                .y_label_formatter(&|value| axis_number(*value))
                .label_style(self.font(12.0, FAINT))
                .axis_desc_style(self.font(12.5, INK))
                .y_desc(format!("resident, {right_unit}"))
                .draw()?;
        }
        let mut floor = vec![0.0; panel.times.len()];
        for layer in &panel.layers {
            let ceiling: Vec<f64> = floor.iter().zip(&layer.live).map(|(floor, live)| floor + live).collect();
            let upper = panel.times.iter().zip(&ceiling);
            let lower = panel.times.iter().zip(&floor).rev();
            let outline: Vec<(f64, f64)> = upper.chain(lower).map(|(x, y)| (x / x_size, y / y_size)).collect();
            let edge: Vec<(f64, f64)> =
                widened(panel.times.iter().zip(&ceiling).map(|(x, y)| (x / x_size, y / y_size)).collect(), &xs);
            let outline = if panel.times.len() == 1 { block(&edge, floor[0] / y_size) } else { outline };
            let colour = colour_of(layer);
            chart.draw_series(std::iter::once(Polygon::new(outline, colour.mix(0.86).filled())))?;
            chart.draw_series(LineSeries::new(edge, colour.stroke_width(self.stroke(1.0))))?;
            floor = ceiling;
        }
        if !panel.layers.is_empty() {
            let live = widened(panel.live.iter().map(|(x, y)| (x / x_size, y / y_size)).collect(), &xs);
            chart.draw_series(LineSeries::new(live, FAINT.stroke_width(self.stroke(1.0))))?;
        }
        let resident_style = RESIDENT.stroke_width(self.stroke(1.6));
        let size = if right_axis { right_size } else { y_size };
        let line = widened(panel.resident.iter().map(|(x, y)| (x / x_size, y / size)).collect(), &xs);
        let dashes = |line| DashedLineSeries::new(line, self.stroke(7.0), self.stroke(4.0), resident_style);
        if right_axis {
            chart.draw_secondary_series(dashes(line))?;
        } else {
            chart.draw_series(dashes(line))?;
        }
        let mut free_from = i32::MIN;
        for (time, name) in &panel.checkpoints {
            let x = time / x_size;
            let line = vec![(x, 0.0), (x, left_top)];
            let style = CHECKPOINT.mix(0.8).stroke_width(self.stroke(1.0));
            chart.draw_series(DashedLineSeries::new(line, self.stroke(2.0), self.stroke(3.0), style))?;
            let (pixel, top) = chart.plotting_area().map_coordinate(&(x, left_top));
            let (base_x, base_y) = area.get_base_pixel();
            let font = self.font(11.5, CHECKPOINT);
            let width = area.dim_in_pixel().0 as i32;
            let at = pixel - base_x + self.px(3.0);
            let room = (width - at).min(self.px(180.0));
            let text = fitted(name, |text| self.width(text, font.clone()) <= room);
            if at >= free_from && !text.is_empty() {
                free_from = at + self.width(&text, font.clone()) + self.px(6.0);
                area.draw(&Text::new(text, (at, top - base_y - self.px(14.0)), font))?;
            }
        }
        Ok(())
    }

    /// One row per layer, as they are stacked, with its size at the end; then resident memory.
    fn legend(&self, area: &Area<DB>, panel: &Panel, rows: usize, right_axis: bool) -> Result<(), DrawError> {
        let width = area.dim_in_pixel().0 as i32;
        let (left, right) = (self.px(74.0), width - self.px(24.0));
        let (name_font, remark_font) = (self.font(12.5, INK), self.font(12.5, FAINT));
        let name_at = left + self.px(20.0);
        let (size_width, remark_width, gap) = (self.px(76.0), self.px(180.0), self.px(18.0));
        let room = right - name_at - size_width - remark_width - 2 * gap;
        let resident_name = if right_axis { "resident memory (RSS), right axis" } else { "resident memory (RSS)" };
        let resident = panel.resident.last().map(|(_, last)| (resident_name.to_owned(), *last));
        let sites = panel.layers.iter().rev().take(rows.saturating_sub(usize::from(resident.is_some())));
        let sites: Vec<(&Layer, String)> = sites
            .map(|layer| (layer, layer.label.fitted(|text| self.width(text, name_font.clone()) <= room)))
            .collect();
        let names = sites.iter().map(|(_, name)| name).chain(resident.iter().map(|(name, _)| name));
        let widest = names.map(|name| self.width(name, name_font.clone())).max().unwrap_or(0);
        let size_at = name_at + widest + gap + size_width;
        let remark_at = size_at + gap;
        let mut y = self.px(LEGEND_MARGIN / 2.0 + ROW_HEIGHT / 2.0);
        let middle = |x| Pos::new(x, VPos::Center);
        let row = |y: i32, name: &str, size: f64| -> Result<(), DrawError> {
            // Vector viewers fold plain spaces.
            let name = name.replace("  ", " \u{a0}");
            area.draw(&Text::new(name, (name_at, y), name_font.clone().pos(middle(HPos::Left))))?;
            let size = units::bytes(size as u64);
            area.draw(&Text::new(size, (size_at, y), name_font.clone().pos(middle(HPos::Right))))?;
            Ok(())
        };
        for (layer, name) in sites {
            let half = self.px(6.0);
            let swatch = [(left, y - half), (left + 2 * half, y + half)];
            area.draw(&Rectangle::new(swatch, colour_of(layer).filled()))?;
            row(y, &name, layer.live.last().copied().unwrap_or(0.0))?;
            let remark = fitted(&layer.remark, |text| self.width(text, remark_font.clone()) <= right - remark_at);
            area.draw(&Text::new(remark, (remark_at, y), remark_font.clone().pos(middle(HPos::Left))))?;
            y += self.px(ROW_HEIGHT);
        }
        if let Some((name, last)) = resident.filter(|_| rows > 0) {
            for dash in [0.0, 7.0] {
                let from = left + self.px(dash);
                let line = vec![(from, y), (from + self.px(5.0), y)];
                area.draw(&PathElement::new(line, RESIDENT.stroke_width(self.stroke(1.6))))?;
            }
            row(y, &name, last)?;
        }
        Ok(())
    }

    fn px(&self, pixels: f64) -> i32 {
        (pixels * self.scale).round() as i32
    }

    fn stroke(&self, pixels: f64) -> u32 {
        (pixels * self.scale).round().max(1.0) as u32
    }

    fn font(&self, size: f64, colour: RGBColor) -> TextStyle<'static> {
        (FONT, size * self.scale).into_font().color(&colour)
    }

    fn title_font(&self) -> TextStyle<'static> {
        (FONT, 18.0 * self.scale, FontStyle::Bold).into_font().color(&INK)
    }

    fn width(&self, text: &str, font: TextStyle<'_>) -> i32 {
        self.root
            .estimate_text_size(text, &font)
            .map_or(i32::MAX, |(width, _)| i32::try_from(width).unwrap_or(i32::MAX))
    }
}

/// How many rows the legend of a panel may have: it gives way before the picture does.
pub(super) fn legend_rows(panel_height: u32) -> usize {
    let below_title = (f64::from(panel_height) - TITLE_HEIGHT).max(0.0);
    ((below_title * 0.45 - LEGEND_MARGIN) / ROW_HEIGHT).max(0.0) as usize
}

fn register_fonts() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        let fonts: [(FontStyle, &'static [u8]); 2] = [
            (FontStyle::Normal, include_bytes!("../../../assets/DejaVuSans-subset.ttf")),
            (FontStyle::Bold, include_bytes!("../../../assets/DejaVuSans-Bold-subset.ttf")),
        ];
        for (style, bytes) in fonts {
            let registered = register_font(FONT, style, bytes);
            debug_assert!(registered.is_ok(), "the embedded font is sound");
        }
    });
}

fn colour_of(layer: &Layer) -> RGBColor {
    match layer.kind {
        LayerKind::Leaking(rank) => LEAKING[rank % LEAKING.len()],
        LayerKind::Other(rank) => OTHERS[rank % OTHERS.len()],
        LayerKind::Rest => REST,
    }
}

/// Resident memory far above the heap would press the heap flat: then it gets an axis of its own.
fn resident_apart(panel: &Panel) -> bool {
    const TIMES: f64 = 3.0;
    let highest = |line: &[(f64, f64)]| line.iter().map(|point| point.1).fold(0.0, f64::max);
    let live = highest(&panel.live);
    live > 0.0 && highest(&panel.resident) > TIMES * live
}

fn stack_top(panel: &Panel) -> Vec<(f64, f64)> {
    let sum = |place: usize| panel.layers.iter().map(|layer| layer.live[place]).sum();
    panel.times.iter().enumerate().map(|(place, time)| (*time, sum(place))).collect()
}

/// The unit of the time axis with its seconds.
fn time_unit(panel: &Panel) -> (&'static str, f64) {
    match panel.times.last().copied().unwrap_or(0.0) {
        ..180.0 => ("s", 1.0),
        ..10_800.0 => ("min", 60.0),
        ..259_200.0 => ("h", 3600.0),
        _ => ("days", 86_400.0),
    }
}

/// From the first point known to the last moment; a single one gets some room.
fn time_range(panel: &Panel, size: f64) -> std::ops::Range<f64> {
    let first = panel.live.first().map_or(0.0, |point| point.0) / size;
    let last = panel.times.last().copied().unwrap_or(0.0) / size;
    if last > first { first..last } else { first..first + 1.0 }
}

/// A single point as a line over the whole range.
fn widened(line: Vec<(f64, f64)>, xs: &std::ops::Range<f64>) -> Vec<(f64, f64)> {
    match line.as_slice() {
        [(_, y)] => vec![(xs.start, *y), (xs.end, *y)],
        _ => line,
    }
}

/// The area below a line of two points.
fn block(edge: &[(f64, f64)], floor: f64) -> Vec<(f64, f64)> {
    edge.iter().copied().chain(edge.iter().rev().map(|(x, _)| (*x, floor))).collect()
}

/// Axis labels without needless zeros.
fn axis_number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// `text`, cut at the end until it fits.
fn fitted(text: &str, fits: impl Fn(&str) -> bool) -> String {
    if fits(text) {
        return text.to_owned();
    }
    let mut letters: Vec<char> = text.chars().collect();
    while letters.pop().is_some() {
        let cut: String = letters.iter().chain(&['…']).collect();
        if fits(&cut) {
            return cut;
        }
    }
    String::new()
}
