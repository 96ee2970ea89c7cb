// Redraws the linked explorer after a filter, a step of the slider, a selection, a pan or a zoom.
// It runs as the body of a function whose arguments explorer.py names. `flights` has a row a
// flight; in the columns that are drawn, each is a list over the fractions.

const react = () => {
  const moved = panels.filter(({plot}) => plot === cb_obj || plot === cb_obj.origin)
  if (cb_obj === flights.selected) {
    copy_selection(flights, cloud)
    panels.forEach(draw_picked)
    count_selected()
  } else if (cb_obj === cloud.selected) {
    copy_selection(cloud, flights)
  } else if (cb_obj === slider) {
    move_cloud()
  } else if (moved.length > 0 && mean.data.progress.length > 0) {
    if (cb_obj === map) keep_shape(map)  // its layout changed
    moved.forEach(draw_shown)
    moved.forEach(draw_picked)
  } else {
    if (cb_obj === map) keep_shape(map)
    filter_flights()
    panels.forEach(draw_shown)
  }
}

// Show all of home (west, south, east, north) in the map's frame, with the same scale in all
// directions.
const keep_shape = ({x_range, y_range, inner_width: width, inner_height: height}) => {
  const [west, south, east, north] = home
  const narrow = Math.cos((south + north) / 2 * Math.PI / 180)
  const scale = Math.max((east - west) * narrow / width, (north - south) / height) / 2  // deg/px
  show_around(x_range, (west + east) / 2, scale * width / narrow)
  show_around(y_range, (south + north) / 2, scale * height)
}

const show_around = (range, middle, half) => {
  const [start, end] = [middle - half, middle + half]
  range.setv({start, end, reset_start: start, reset_end: end})
}

// Equal lists are not copied: otherwise the two would copy each other for ever.
const copy_selection = ({selected: {indices}}, {selected}) => {
  if (indices.join() !== selected.indices.join()) selected.indices = indices
}

const count_selected = () => {
  const [all, picked] = [flights.data.path.length, flights.selected.indices.length]
  counted.text = `${shown.indices.length} of ${all} flights shown, ${picked} selected`
}

const filter_flights = () => {
  const wanted = Object.entries(filters).filter(([, {value}]) => value !== "")
  const limited = Object.entries(ranges).filter(
    ([, {value: [low, high], start, end}]) => low > start || high < end)
  const passes = (row) =>
    wanted.every(([name, {value}]) => flights.data[name][row] === value)
    && limited.every(([name, {value: [low, high]}]) =>
      low <= flights.data[name][row] && flights.data[name][row] <= high)
  shown.indices = [...flights.data.path.keys()].filter(passes)
  flights.selected.indices = flights.selected.indices.filter(passes)
  const mean_line = (name) => fractions.map((_, step) => average(take(name, step)))
  mean.data = {progress: fractions, ...collect(columns, mean_line)}
  move_cloud()
  count_selected()
}

// Move the flights to the slider's fraction, and show their dispersion there.
const move_cloud = () => {
  const step = slider.value
  const place = (name) => flights.data[name].map((line) => line[step])
  cloud.data = {progress: flights.data.path.map(() => fractions[step]), ...collect(columns, place)}
  now.data = collect(["progress", ...columns], (name) => [mean.data[name][step]])
  marks.forEach((mark) => { mark.location = fractions[step] })
  const reached = take("latitude", step).some(Number.isFinite)
  const east = reached ? offsets("longitude", step).map((degrees) => degrees * 60 * shrink(step)) : []
  const north = reached ? offsets("latitude", step).map((degrees) => degrees * 60) : []
  const [ee, en, nn] = [product(east, east), product(east, north), product(north, north)]
  ellipse.data = reached ? outline(ee, en, nn, step) : {longitude: [], latitude: []}
  spread.text = reached ? describe_spread(ee, en, nn, step) : "no flight"
}

// Describe the dispersion, along and across the course of the mean from the step before to the next.
const describe_spread = (ee, en, nn, step) => {
  const {longitude, latitude} = mean.data
  const [before, after] = [Math.max(step - 1, 0), Math.min(step + 1, fractions.length - 1)]
  const x = (longitude[after] - longitude[before]) * shrink(step)
  const y = latitude[after] - latitude[before]
  const [sin, cos] = [x / Math.hypot(x, y), y / Math.hypot(x, y)]
  const along = Math.sqrt(Math.max(ee * sin ** 2 + 2 * en * sin * cos + nn * cos ** 2, 0))
  const cross = Math.sqrt(Math.max(ee * cos ** 2 - 2 * en * sin * cos + nn * sin ** 2, 0))
  const [altitude, time] = ["altitude", "duration"].map((name) => deviation(offsets(name, step)))
  return `at ${fractions[step]} %: σ along ${along.toFixed(1)} NM, cross ${cross.toFixed(1)} NM, `
    + `altitude ${Math.round(altitude).toLocaleString("en")} ft, time ${(time / 60).toFixed(1)} min`
}

// Return the ellipse of two standard deviations: the covariance's Cholesky factor on a circle.
const outline = (ee, en, nn, step) => {
  const {longitude, latitude} = mean.data
  const a = Math.sqrt(ee)
  const b = ee > 0 ? en / a : 0
  const c = Math.sqrt(Math.max(nn - b ** 2, 0))
  const turns = Array.from({length: 61}, (_, turn) => turn * Math.PI / 30)
  return {
    longitude: turns.map((turn) => longitude[step] + 2 * a * Math.cos(turn) / 60 / shrink(step)),
    latitude: turns.map((turn) => latitude[step] + 2 * (b * Math.cos(turn) + c * Math.sin(turn)) / 60),
  }
}

const collect = (names, make) => Object.fromEntries(names.map((name) => [name, make(name)]))
const take = (name, step) => shown.indices.map((row) => flights.data[name][row][step])
const offsets = (name, step) => take(name, step).map((value) => value - mean.data[name][step])
const shrink = (step) => Math.cos(mean.data.latitude[step] * Math.PI / 180)
const product = (one, other) => average(one.map((value, row) => value * other[row]))
const deviation = (values) => Math.sqrt(product(values, values))
const average = (values) => {
  const finite = values.filter(Number.isFinite)
  return finite.reduce((sum, value) => sum + value, 0) / finite.length
}

const draw_shown = (panel) => draw_density(panel, panel.image, shown.indices)

// Draw selected flights as lines, or many of them as a density, as lines take long to draw.
const draw_picked = (panel) => {
  const {picked, crowd, x, y} = panel
  const {indices} = flights.selected
  const crowded = indices.length > 100
  const [xs, ys] = crowded ? ["nothing", "nothing"] : [x, y]
  if (picked.xs.field !== xs) picked.setv({xs: {field: xs}, ys: {field: ys}})
  if (crowded || crowd.data.dw[0] > 0) draw_density(panel, crowd, crowded ? indices : [])
}

// Draw how many flights pass each pixel of a panel in its present pan and zoom.
const draw_density = ({plot, x, y}, image, flown) => {
  const {x_range, y_range, inner_width: width, inner_height: height} = plot
  const [wide, high] = [x_range.end - x_range.start, y_range.end - y_range.start]
  const counts = new Float32Array(width * height)
  const [columns, rows] = [new Float64Array(fractions.length), new Float64Array(fractions.length)]
  for (const row of flown) {
    const [xs, ys] = [flights.data[x][row], flights.data[y][row]]
    for (let step = 0; step < xs.length; step++) {
      columns[step] = (xs[step] - x_range.start) / wide * width
      rows[step] = (ys[step] - y_range.start) / high * height
    }
    count_line(counts, width, height, columns, rows)
  }
  const NDArray = image.data.image[0].constructor
  const share = counts.some((count) => count > 0) ? 1 : 0  // all-zero counts have the last colour
  image.data = {
    x: [x_range.start], y: [y_range.start], dw: [share * wide], dh: [share * high],
    image: [new NDArray(counts, [height, width])],
  }
}

// Count a line in a pixel of each column or row that it crosses; of each segment only what is in
// view is followed.
const count_line = (counts, width, height, columns, rows) => {
  let last = -1
  for (let to = 1; to < columns.length; to++) {
    const [x, y] = [columns[to - 1], rows[to - 1]]
    const [dx, dy] = [columns[to] - x || 1e-9, rows[to] - y || 1e-9]
    const enter = Math.max(0, Math.min(-x / dx, (width - x) / dx), Math.min(-y / dy, (height - y) / dy))
    const leave = Math.min(1, Math.max(-x / dx, (width - x) / dx), Math.max(-y / dy, (height - y) / dy))
    const step = 0.99 / Math.max(Math.abs(dx), Math.abs(dy), 1)  // a whole pixel might skip one
    for (let t = enter; t <= leave; t += step) {
      const [column, row] = [Math.floor(x + t * dx), Math.floor(y + t * dy)]
      const pixel = row * width + column
      if (pixel === last || column < 0 || column >= width || row < 0 || row >= height) continue
      counts[pixel]++
      last = pixel
    }
  }
}

react()
