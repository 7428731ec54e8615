// Package printable makes untrusted text safe to print: names of files, workspaces, processes
// and hosts can contain escape sequences, invisible characters, or ones that reverse the order
// of letters (U+202E). It also formats sizes for people. Output for programs, such as JSON,
// does not use it.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Name returns a printable form of a name: quoted as in Go if it contains invisible or control
// characters, including line breaks.
func Name(name string) string {
	quoted := strconv.Quote(name)
	if quoted[1:len(quoted)-1] == name {
		return name
	}
	return quoted
}

// Text returns text of one or several lines with invisible and control characters escaped as
// in Go. Line breaks and tabs stay, so names in it must have been passed through Name, or be
// quoted.
func Text(text string) string {
	if isPlain(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if isShown(r, size) {
			b.WriteString(text[:size])
		} else {
			quoted := strconv.Quote(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String()
}

func isPlain(text string) bool {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if !isShown(r, size) {
			return false
		}
		i += size
	}
	return true
}

func isShown(r rune, size int) bool {
	if r == utf8.RuneError && size == 1 {
		return false
	}
	return r == '\n' || r == '\t' || strconv.IsPrint(r)
}

// Bytes formats a number of bytes in binary units with one decimal.
func Bytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	const units = "KMGTPE"
	for value >= 1<<10 && unit < len(units)-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
