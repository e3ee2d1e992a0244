package provision

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// aptMeter tells from what apt-get install prints how far it is: bytes while
// it downloads, then packages while dpkg unpacks and sets them up.
type aptMeter struct {
	tell func(done, total int64, unit, what string)

	mu       sync.Mutex
	packages int64 // that are installed or upgraded
	bytes    int64 // to be downloaded
	before   int64 // bytes of the downloads that have begun
	unpacked int64
	setUp    int64
}

var (
	aptCounts = regexp.MustCompile(`^(\d+) upgraded, (\d+) newly installed, `)
	aptNeeds  = regexp.MustCompile(`^Need to get ([\d.,]+ k?M?G?B)(?:/[\d.,]+ k?M?G?B)? of archives\.$`)
	aptGets   = regexp.MustCompile(`^Get:\d+ \S+ (?:\S*/|\S+ \S+) (\S+) .*\[([\d.,]+ k?M?G?B)\]$`)
)

// line takes in one line of output. A download counts when the next one
// begins: apt says nothing when it ends.
func (m *aptMeter) line(l string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := aptCounts.FindStringSubmatch(l); c != nil {
		upgraded, _ := strconv.ParseInt(c[1], 10, 64)
		added, _ := strconv.ParseInt(c[2], 10, 64)
		m.packages = upgraded + added
		return
	}
	if m.packages == 0 {
		return // package lists, which are not what is waited for
	}
	if n := aptNeeds.FindStringSubmatch(l); n != nil {
		m.bytes, m.before = aptSize(n[1]), 0
	} else if g := aptGets.FindStringSubmatch(l); g != nil && m.bytes > 0 {
		m.tell(min(m.before, m.bytes), m.bytes, "bytes", g[1])
		m.before += aptSize(g[2])
	} else if strings.HasPrefix(l, "Fetched ") && m.bytes > 0 {
		m.tell(m.bytes, m.bytes, "bytes", "")
	} else if what, ok := strings.CutPrefix(l, "Unpacking "); ok {
		m.unpacked++
		m.tell(min(m.unpacked, m.packages), m.packages, "packages unpacked", firstWord(what))
	} else if what, ok := strings.CutPrefix(l, "Setting up "); ok {
		m.setUp++
		m.tell(min(m.setUp, m.packages), m.packages, "packages set up", firstWord(what))
	}
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// aptSize reads a size as apt prints it: powers of ten (apt-pkg, SizeToStr).
// It is 0 for what is none.
func aptSize(s string) int64 {
	number, unit, _ := strings.Cut(strings.ReplaceAll(s, ",", ""), " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return int64(n * map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
}
