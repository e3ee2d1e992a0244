package tui

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"nucspark.io/nucspark/provision"
	"nucspark.io/nucspark/provision/host"
	"nucspark.io/nucspark/watch"
)

// percentage is a share of 1, with a bar where there is room.
func (v *watchView) percentage(share float64, bad bool) string {
	share = min(max(share, 0), 1)
	look := v.styles.busy
	if bad {
		look = v.styles.bad
	}
	text := fmt.Sprintf("%3.0f%%", share*100)
	if bad {
		text = look.Render(text)
	}
	if v.width < barsFrom {
		return text
	}
	const size = 6
	full := int(share*size + 0.5)
	return look.Render(strings.Repeat("━", full)) + v.styles.faint.Render(strings.Repeat("─", size-full)) + " " + text
}

// used is "3.2 of 7.6 GiB", with both units where they differ.
func used(n, total int64) string {
	number, unit, _ := strings.Cut(size(n), " ")
	all := size(total)
	if strings.HasSuffix(all, " "+unit) {
		return number + " of " + all
	}
	return number + " " + unit + " of " + all
}

// column is one of the table of machines. Text is at most as wide as it is.
type column struct {
	title string
	width int
	from  int // the width of a screen that has room for it
	text  func(provision.Vitals) string
}

// columns are all there are; that of temperatures only where some machine tells
// its own.
func (v *watchView) columns(warm bool) []column {
	share := 4 // "100%"
	if v.width >= barsFrom {
		share = 11
	}
	known := func(is bool, text string) string {
		if is {
			return text
		}
		return v.styles.faint.Render("-")
	}
	all := []column{
		{"cpu", share, 0, func(x provision.Vitals) string {
			if x.Use == nil {
				return known(false, "")
			}
			return v.percentage(*x.Use, *x.Use > 0.9)
		}},
		{"load", 6, wide, func(x provision.Vitals) string { return fmt.Sprintf("%6.2f", min(x.Load, 999)) }},
		{"mem", share, 0, func(x provision.Vitals) string {
			return v.percentage(provision.Share(x.MemoryUsed, x.Memory), x.Tight())
		}},
		{"", 16, wide, func(x provision.Vitals) string { return used(x.MemoryUsed, x.Memory) }},
		{"disk", share, 0, func(x provision.Vitals) string {
			fullest := provision.DiskUse{}
			for _, d := range x.Disks {
				if d.Share() >= fullest.Share() {
					fullest = d
				}
			}
			return known(len(x.Disks) > 0, v.percentage(fullest.Share(), fullest.Full()))
		}},
		{"temp", 5, 0, func(x provision.Vitals) string {
			text := fmt.Sprintf("%3.0f°C", x.Celsius)
			if x.Hot() {
				text = v.styles.bad.Render(text)
			}
			return known(x.Celsius > 0, text)
		}},
		{"network", 40, 120, func(x provision.Vitals) string { return known(x.Link != nil, v.link(x.Link)) }},
	}
	return slices.DeleteFunc(all, func(c column) bool { return c.title == "temp" && !warm })
}

// link is how fast a network interface is, and what goes through it.
func (v *watchView) link(l *provision.Link) string {
	if l == nil {
		return ""
	}
	text := host.Clean(l.Name)
	switch {
	case !l.Up:
		return v.styles.bad.Render(text + " down")
	case l.Megabits >= 1000:
		text += fmt.Sprintf(" %g Gb/s", float64(l.Megabits)/1000)
	case l.Megabits > 0:
		text += fmt.Sprintf(" %d Mb/s", l.Megabits)
	}
	if l.In != nil && l.Out != nil {
		text += fmt.Sprintf("  in %s/s out %s/s", size(int64(*l.In)), size(int64(*l.Out)))
	}
	return text
}

// machines are those that answer. Columns are left out where there is no room.
func (v *watchView) machines(s *watch.State) []string {
	names, gap := v.names(s), "  "
	if v.width < narrow {
		gap = " "
	}
	room := v.width - 2 - 9 - 2 - names
	warm := slices.ContainsFunc(s.Machines, func(m watch.Machine) bool { return m.Vitals != nil && m.Vitals.Celsius > 0 })
	var columns []column
	for _, c := range v.columns(warm) {
		if v.width >= c.from && room >= len(gap)+min(c.width, 24) {
			columns = append(columns, c)
			room -= len(gap) + c.width
		}
	}
	titles := cell("", names)
	for _, c := range columns {
		titles += gap + cell(c.title, c.width)
	}
	lines := []string{v.title("machines", titles)}
	for _, m := range s.Machines {
		name := cell(host.Clean(m.Name), names)
		switch {
		case m.Trouble(s.Time) != "": // it stands above
		case m.Vitals == nil:
			text := ""
			if !m.Asked.IsZero() {
				text = clock(s.Time.Sub(m.Asked))
			}
			lines = append(lines, "  "+v.styles.faint.Render("◌ asking ")+"  "+name+"  "+v.styles.faint.Render(text))
		default:
			line := "  " + v.word(levelIf(len(m.Vitals.Warnings()) > 0, watch.Warning)) + "  " + name
			for _, c := range columns {
				text := c.text(*m.Vitals)
				line += gap + text + strings.Repeat(" ", max(0, c.width-ansi.StringWidth(text)))
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}

// disks are how full each directory's file system is.
func (v *watchView) disks(s *watch.State) []string {
	names := v.names(s)
	paths := 4
	for _, m := range s.Machines {
		if m.Vitals != nil {
			for _, d := range m.Vitals.Disks {
				paths = max(paths, ansi.StringWidth(host.Clean(d.Path)))
			}
		}
	}
	paths = min(paths, max(6, v.width/4))
	lines := []string{v.title("disks", "")}
	for _, m := range s.Machines {
		if m.Vitals == nil || m.Trouble(s.Time) != "" {
			continue
		}
		for _, d := range m.Vitals.Disks {
			lines = append(lines, "  "+v.word(levelIf(d.Full(), watch.Warning))+"  "+cell(host.Clean(m.Name), names)+"  "+cell(host.Clean(d.Path), paths)+"  "+
				v.percentage(d.Share(), d.Full())+v.unlessNarrow("  "+used(d.Used, d.Size)))
		}
	}
	if len(lines) == 1 {
		return nil
	}
	return lines
}

// unlessNarrow is a text for which a narrow screen has no room.
func (v *watchView) unlessNarrow(text string) string {
	if v.width < narrow {
		return ""
	}
	return text
}

// storage is HDFS.
func (v *watchView) storage(s *watch.State) []string {
	h := s.HDFS
	if h == nil {
		return nil
	}
	label := func(text string) string { return cell(text, max(9, v.names(s))) + "  " }
	capacity := v.percentage(provision.Share(h.Used, h.Capacity), provision.Share(h.Free, h.Capacity) < 0.1) + "  " + used(h.Used, h.Capacity) + v.unlessNarrow(", "+size(h.Free)+" free")
	level := watch.Level("")
	if h.ReadOnly != "" {
		level = watch.Failed
		capacity += "  " + v.styles.bad.Render("read-only")
	}
	blocks := fmt.Sprintf("%d missing, %d under, %d corrupt", h.Missing, h.UnderReplicated, h.Corrupt)
	if v.width >= barsFrom {
		blocks = fmt.Sprintf("%d missing, %d under-replicated, %d corrupt", h.Missing, h.UnderReplicated, h.Corrupt)
	}
	if v.width >= wide {
		blocks += fmt.Sprintf(" of %s in %s", counted(int(h.Blocks), "block"), counted(int(h.Files), "file"))
	} else if v.width >= barsFrom {
		blocks += fmt.Sprintf(" of %d", h.Blocks)
	}
	blocksLevel := levelIf(h.UnderReplicated > 0 || h.Corrupt > 0, watch.Warning)
	if h.Missing > 0 {
		blocksLevel = watch.Failed
	}
	nodes := fmt.Sprintf("%d live, %d dead", h.Live, len(h.Dead))
	if len(h.Dead) > 0 {
		nodes += " (" + host.Clean(strings.Join(h.Dead, ", ")) + ")"
	}
	for _, l := range h.Leaving {
		nodes += fmt.Sprintf(", %s leaves: %s left", host.Clean(l.Name), counted(int(l.Left), "block"))
	}
	safe := "off"
	if h.ReadOnly != "" {
		safe = "on"
	}
	nodes += v.unlessNarrow("; " + v.styles.faint.Render("safe mode "+safe))
	return []string{
		v.title("hdfs", ""),
		"  " + v.word(level) + "  " + label("capacity") + capacity,
		"  " + v.word(blocksLevel) + "  " + label("blocks") + blocks,
		"  " + v.word(levelIf(len(h.Dead) > 0, watch.Failed)) + "  " + label("datanodes") + nodes,
	}
}

// compute is Spark: its workers, then what it runs.
func (v *watchView) compute(s *watch.State) []string {
	if s.Spark == nil {
		return nil
	}
	names := max(9, v.names(s))
	lines := []string{v.title("spark", "")}
	for _, w := range s.Spark.Workers {
		cores := fmt.Sprintf("%d of %d cores", w.CoresUsed, w.Cores)
		if v.width >= barsFrom {
			cores = v.percentage(provision.Share(int64(w.CoresUsed), int64(w.Cores)), false) + "  " + cell(cores, 15)
		}
		memory := used(w.MemoryUsed, w.Memory)
		if v.width >= wide {
			memory = v.percentage(provision.Share(w.MemoryUsed, w.Memory), false) + "  " + memory
		}
		lines = append(lines, "  "+v.word("")+"  "+cell(host.Clean(w.Name), names)+"  "+cores+"  "+memory)
	}
	for _, a := range s.Spark.Applications {
		word := v.styles.faint.Render("◌ waiting")
		if a.Runs {
			word = v.styles.busy.Render(string(spinner[uint64(s.Time.UnixMilli()/100)%uint64(len(spinner))]) + " running")
		}
		age := a.Age
		if !s.API.Seen.IsZero() {
			age += s.Time.Sub(s.API.Seen)
		}
		text := fmt.Sprintf("%6s  %s", clock(age), counted(a.Cores, "core"))
		if v.width >= narrow {
			text += ", " + size(a.Memory) + " an executor"
		}
		if v.width >= wide {
			text += "  " + v.styles.faint.Render(host.Clean(a.ID))
		}
		lines = append(lines, "  "+word+"  "+cell(host.Clean(a.Name), max(names, min(v.width/4, 30)))+"  "+text)
	}
	if len(s.Spark.Applications) == 0 {
		lines = append(lines, v.styles.faint.Render("             no application"))
	}
	return lines
}

// volumes are those of NFS, with how full the disk is that each lies on.
func (v *watchView) volumes(s *watch.State) []string {
	if len(s.Volumes) == 0 {
		return nil
	}
	names := v.names(s)
	lines := []string{v.title("volumes", "")}
	for _, volume := range s.Volumes {
		well, known := true, false
		for _, h := range s.Health {
			if h.Component == "nfs" && h.Name == "volume "+volume.Name {
				well, known = h.OK, true
			}
		}
		word := v.word(levelIf(!well, watch.Failed))
		if !known {
			word = v.styles.faint.Render("◌ unknown")
		}
		text := size(volume.Size) + " on " + host.Clean(volume.Node)
		if d, ok := s.Disk(volume); ok {
			text += v.unlessNarrow(":"+host.Clean(volume.Export)) + "  " + v.percentage(d.Share(), d.Full()) + v.unlessNarrow(" of its disk")
		}
		lines = append(lines, "  "+word+"  "+cell(host.Clean(volume.Name), names)+"  "+text)
	}
	return lines
}

// checks say of how many things each component is made that are well.
func (v *watchView) checks(s *watch.State) []string {
	if len(s.Health) == 0 || s.API.Seen.IsZero() {
		return nil
	}
	lines := []string{v.title("checks", "")}
	for _, c := range s.Checks() {
		level := watch.Level("")
		if c.Well < c.All {
			level = watch.Failed
		}
		lines = append(lines, "  "+v.word(level)+"  "+fmt.Sprintf("%s  %d of %d", cell(host.Clean(c.Component), 10), c.Well, c.All))
	}
	return lines
}
