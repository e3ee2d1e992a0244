package inventory

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Binary units.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
	PiB
)

// units are the suffixes of a size. Two-letter ones and capitals are those of
// Kubernetes quantities; lower-case ones are Spark's, which are binary
// (JavaUtils.byteStringAsBytes). The two disagree on "m" and "k": a memory
// size of thousandths of a byte makes no sense, so Spark's meaning is taken.
var units = map[string]Size{
	"Ki": KiB, "Mi": MiB, "Gi": GiB, "Ti": TiB, "Pi": PiB,
	"M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
	"k": KiB, "m": MiB, "g": GiB, "t": TiB, "p": PiB,
	"b": 1, "": 1,
}

var errSize = errors.New(`sizes are written "50Gi", "10G" or, as Spark does, "8g"`)

// ParseSize reads "50Gi" (binary), "10G" (decimal), "8g" and "512m" (binary, as
// Spark has it) and plain bytes. A fraction is allowed where a whole number of
// bytes comes out: "1.5Gi".
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units[s[len(digits):]]
	n, ok := decimal(digits)
	if !known || !ok {
		return 0, errSize
	}
	n.Mul(n, new(big.Rat).SetInt64(int64(unit)))
	if !n.IsInt() {
		return 0, errors.New("is not a whole number of bytes")
	}
	if !n.Num().IsInt64() {
		return 0, errors.New("is too large")
	}
	return Size(n.Num().Int64()), nil
}

// decimal reads digits with an optional fraction, nothing else: no sign, no
// exponent, and no more than a size can need.
func decimal(s string) (*big.Rat, bool) {
	whole, fraction, dot := strings.Cut(s, ".")
	if whole == "" || dot && fraction == "" || len(s) > 32 {
		return nil, false
	}
	if strings.Trim(whole+fraction, "0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// String writes the size as a Kubernetes quantity: "10Gi", "1536Mi", "1500".
func (s Size) String() string {
	return s.in([]string{"Pi", "Ti", "Gi", "Mi", "Ki"}, "")
}

// Spark writes the size as Spark and the JVM's -Xmx read it: "8g", "1536m".
// Bytes that make no whole KiB carry "b", which Spark reads and the JVM does
// not.
func (s Size) Spark() string {
	return s.in([]string{"p", "t", "g", "m", "k"}, "b")
}

func (s Size) in(names []string, bytes string) string {
	for _, name := range names {
		if unit := units[name]; s != 0 && s%unit == 0 {
			return strconv.FormatInt(int64(s/unit), 10) + name
		}
	}
	return strconv.FormatInt(int64(s), 10) + bytes
}

// MarshalText writes the size as String does.
// Human is the size to one decimal, for people: "23.5 GiB".
func (s Size) Human() string {
	unit, name := KiB, "KiB"
	switch {
	case s >= TiB:
		unit, name = TiB, "TiB"
	case s >= GiB:
		unit, name = GiB, "GiB"
	case s >= MiB:
		unit, name = MiB, "MiB"
	}
	return fmt.Sprintf("%.1f %s", float64(s)/float64(unit), name)
}

func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseCPU reads "3", "1.5" and "500m".
func ParseCPU(s string) (MilliCPU, error) {
	digits, milli := strings.CutSuffix(s, "m")
	n, ok := decimal(digits)
	if !ok {
		return 0, errors.New(`CPUs are written "3", "1.5" or "500m"`)
	}
	if !milli {
		n.Mul(n, big.NewRat(1000, 1))
	}
	if !n.IsInt() || !n.Num().IsInt64() {
		return 0, errors.New("is not a whole number of thousandths of a CPU")
	}
	return MilliCPU(n.Num().Int64()), nil
}

// String writes the amount as a Kubernetes quantity: "3", "500m".
func (m MilliCPU) String() string {
	if m%1000 == 0 {
		return strconv.FormatInt(int64(m/1000), 10)
	}
	return fmt.Sprintf("%dm", int64(m))
}

// MarshalText writes the amount as String does.
func (m MilliCPU) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
