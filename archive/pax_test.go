package archive

import (
	"math"
	"testing"

	"github.com/workdir/workdir/fs"
)

func TestPaxTime(t *testing.T) {
	for _, c := range []struct {
		in   string
		want fs.Time
		out  string // "" where it is in
	}{
		{"0", fs.Time{}, ""},
		{"1700000000.123456789", fs.Time{Sec: 1_700_000_000, Nsec: 123456789}, ""},
		{"1.5", fs.Time{Sec: 1, Nsec: 500_000_000}, ""},
		{"1.000000001", fs.Time{Sec: 1, Nsec: 1}, ""},
		{"1.0000000019", fs.Time{Sec: 1, Nsec: 1}, "1.000000001"},
		{"1.", fs.Time{Sec: 1}, "1"},
		{"-1", fs.Time{Sec: -1}, ""},
		{"-1.5", fs.Time{Sec: -2, Nsec: 500_000_000}, ""},
		{"-0.25", fs.Time{Sec: -1, Nsec: 750_000_000}, ""},
		{"1e-06", fs.Time{Nsec: 1000}, "0.000001"},
		{"9223372036854775807.999999999", fs.Time{Sec: math.MaxInt64, Nsec: maxNsec}, ""},
		{"-9223372036854775808", fs.Time{Sec: math.MinInt64}, ""},
	} {
		got, err := paxTime(c.in)
		if err != nil || got != c.want {
			t.Errorf("paxTime(%q) is %v, %v, want %v", c.in, got, err, c.want)
		}
		if c.out == "" {
			c.out = c.in
		}
		if out := formatTime(got); out != c.out {
			t.Errorf("formatTime(%v) is %q, want %q", got, out, c.out)
		}
	}
	for _, in := range []string{"", ".5", "-", "x", "1.x", "1.-5", "+", "9223372036854775808", "-9223372036854775808.5", "nan", "1e400"} {
		if got, err := paxTime(in); err == nil {
			t.Errorf("paxTime(%q) is %v", in, got)
		}
	}
}

func TestNumbersOfHeaders(t *testing.T) {
	for _, f := range []field{fieldUID, fieldMtime} {
		for _, n := range []int64{0, 1, 0o7777777, 0o10000000, 1 << 33, -1, -2, -1 << 40, 1 << 40, math.MaxInt32} {
			var b block
			b.setNumber(f, n)
			if got, err := b.number(f); err != nil || got != n {
				t.Errorf("%d in %d bytes comes back as %d, %v", n, f.len, got, err)
			}
		}
	}
	for in, want := range map[string]int64{"       ": 0, "  644 ": 0o644, "0000644\x00": 0o644, "\x80\x00\x00\x00\x00\x00\x01\x00": 256} {
		var b block
		b.setText(fieldMode, in)
		if got, err := b.number(fieldMode); err != nil || got != want {
			t.Errorf("number of %q is %d, %v", in, got, err)
		}
	}
	var b block
	b.setText(fieldMtime, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	if got, err := b.number(fieldMtime); err == nil {
		t.Errorf("a number of 88 bits is %d", got)
	}
}
