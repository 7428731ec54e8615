package ui

import (
	"fmt"
	"strings"
)

// pair is a row of two texts side by side. About is set in one that says where the next
// lines are, and in it alone.
type pair struct {
	Before, After side
	Changed       bool
	About         string
}

// side is a line of one of the texts. Number counts from 1; 0: there is no line here.
type side struct {
	Number int
	Text   string
}

// sideBySide reads a patch in the form of diff -u. Lines that were removed stand beside those
// that came in their place.
func sideBySide(patch string) []pair {
	var s pairing
	for line := range strings.SplitSeq(strings.TrimSuffix(patch, "\n"), "\n") {
		s.add(line)
	}
	s.flush()
	return s.rows
}

// pairing is a patch that is being read.
type pairing struct {
	rows          []pair
	begun         bool // the names of the files are over
	before, after int  // the numbers of the next lines
	gone, came    []side
}

func (s *pairing) add(line string) {
	kind, text := byte(' '), line
	if line != "" {
		kind, text = line[0], line[1:]
	}
	switch {
	case kind == '@':
		s.flush()
		s.begun = true
		_, _ = fmt.Sscanf(line, "@@ -%d", &s.before) // ours has numbers in it
		if _, more, ok := strings.Cut(line, "+"); ok {
			_, _ = fmt.Sscanf(more, "%d", &s.after) // likewise
		}
		s.rows = append(s.rows, pair{About: line})
	case !s.begun:
	case kind == '-':
		s.gone = append(s.gone, side{s.before, text})
		s.before++
	case kind == '+':
		s.came = append(s.came, side{s.after, text})
		s.after++
	case kind == '\\':
		s.flush()
		s.rows = append(s.rows, pair{About: strings.TrimSpace(text)})
	default:
		s.flush()
		s.rows = append(s.rows, pair{Before: side{s.before, text}, After: side{s.after, text}})
		s.before++
		s.after++
	}
}

// flush pairs the lines that are different.
func (s *pairing) flush() {
	for i := range max(len(s.gone), len(s.came)) {
		row := pair{Changed: true}
		if i < len(s.gone) {
			row.Before = s.gone[i]
		}
		if i < len(s.came) {
			row.After = s.came[i]
		}
		s.rows = append(s.rows, row)
	}
	s.gone, s.came = nil, nil
}
