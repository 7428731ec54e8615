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

// visible escapes invisible characters, and those that reverse the direction of text.
func visible(s string) string { return printable.Text(strings.ToValidUTF8(s, string(utf8.RuneError))) }

// stamp formats a time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// age says in words how long ago a time was; "" if now is zero.
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

// dict makes a map of names and values, to pass several values to a template.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}
