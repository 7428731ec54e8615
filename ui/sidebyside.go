package ui

import (
	"fmt"
	"strings"
)

// pair is a row of two texts side by side. A row with About says where the next lines are,
// and has nothing else.
type pair struct {
	Before, After side
	Changed       bool
	About         string
}

// side is a line of one text. Number counts from 1; 0 means that this side has no line.
type side struct {
	Number int
	Text   string
}

// sideBySide converts a patch in the form of diff -u. Removed lines stand beside the added
// lines that replaced them.
func sideBySide(patch string) []pair {
	var s pairing
	for line := range strings.SplitSeq(strings.TrimSuffix(patch, "\n"), "\n") {
		s.add(line)
	}
	s.flush()
	return s.rows
}

// pairing is the state of sideBySide.
type pairing struct {
	rows          []pair
	begun         bool // the lines with the names of the files have been read
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

// flush adds rows for the removed and added lines so far.
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
