package main

import "encoding/binary"

// encoder appends values in XDR (RFC 4506).
type encoder struct{ b []byte }

func (e *encoder) u32(v uint32)   { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)   { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) fixed(p []byte) { e.b = append(e.b, p...) }

// optional tells whether a value follows.
func (e *encoder) optional(follows bool) {
	if follows {
		e.u32(1)
	} else {
		e.u32(0)
	}
}

// str appends a counted string, or opaque, with its padding.
func (e *encoder) str(s string) {
	e.u32(uint32(len(s)))
	e.b = append(e.b, s...)
	e.b = append(e.b, zeros[:padding(len(s))]...)
}

var zeros [4]byte

// padding is the number of bytes that follow n bytes of opaque data.
func padding(n int) int { return -n & 3 }

// decoder takes values off the front of b. Once something is missing all
// further values are zero and bad is true, so that it is looked at once.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) opaque() []byte {
	n := int(d.u32())
	p := d.take(n)
	d.take(padding(n))
	return p
}
