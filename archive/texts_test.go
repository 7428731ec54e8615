package archive

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// Rows that say nothing take over the texts of the row before, so that a long one
// counted once in a log and came back a thousand times: 3 MB made 3.1 GB of JSON.
func TestTextsOfARowAreLimited(t *testing.T) {
	for _, c := range []struct {
		name       string
		tool, host int
		ok         bool
	}{
		{"as much as there can be", maxTexts - 10, 10, true},
		{"a byte more", maxTexts - 10, 11, false},
		{"in one text", maxTexts + 1, 0, false},
	} {
		rec := testLog(1).Record
		rec.Tool, rec.Host = strings.Repeat("t", c.tool), strings.Repeat("h", c.host)
		if _, err := appendRow(nil, &rec, &noRow); (err == nil) != c.ok {
			t.Errorf("%s: to write the row says %v", c.name, err)
		}
		// The first row has one text and the second the other, so that they come together.
		first, second := rec, rec
		first.Host = ""
		var rows string
		for _, f := range [][]byte{first.fields(&noRow), second.fields(&first)} {
			rows += string(binary.AppendUvarint(nil, uint64(len(f)))) + string(f)
		}
		p := past{ids: strings.Repeat("\x01", 3*idBytes), rows: rows}
		n := 0
		err := p.each(func(int, *Record) bool { n++; return true })
		if (err == nil) != c.ok || err != nil && !errors.Is(err, errTexts) || c.ok && n != 2 {
			t.Errorf("%s: to read %d rows says %v", c.name, n, err)
		}
	}
}
