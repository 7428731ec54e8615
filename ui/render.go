package ui

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/internal/printable"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"bytes": printable.Bytes,
	"name":  printable.Name,
	"text":  visible,
	"stamp": stamp,
	"age":   age,
	"dict":  dict,
	"took":  func(d time.Duration) string { return d.Round(time.Second).String() },
}).ParseFS(templateFiles, "templates/*.html"))

// visible is text of a file or of a log, in which what turns the order of letters around,
// or is not seen, is escaped.
func visible(s string) string { return printable.Text(strings.ToValidUTF8(s, string(utf8.RuneError))) }

// stamp is a time as all pages show it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// age is how long ago a time is, in words; "" where now is not known.
func age(now, t time.Time) string {
	d := now.Sub(t)
	for _, unit := range []struct {
		of   time.Duration
		word string
	}{{365 * 24 * time.Hour, "year"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := d / unit.of; now.IsZero() {
			return ""
		} else if n == 1 {
			return "1 " + unit.word + " ago"
		} else if n > 1 {
			return fmt.Sprintf("%d %ss ago", n, unit.word)
		}
	}
	return "now"
}

// dict makes the fields of a template that is given several values.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}
