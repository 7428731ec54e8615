// Package template expands the URLs of workspaces, whose keys may have variables. A value can
// never lead out of the place named by the template.
package template

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	sdk "go.temporal.io/sdk/activity"

	"github.com/workdir/workdir/store"
)

// builtins are the variables of every template. The Python temporal-workdir has
// the same ones.
var builtins = map[string]func(*sdk.Info) string{
	"workflow_id":        func(i *sdk.Info) string { return i.WorkflowExecution.ID },
	"workflow_run_id":    func(i *sdk.Info) string { return i.WorkflowExecution.RunID },
	"workflow_type":      WorkflowType,
	"workflow_namespace": workflowNamespace,
	"namespace":          func(i *sdk.Info) string { return i.Namespace },
	"activity_id":        func(i *sdk.Info) string { return i.ActivityID },
	"activity_run_id":    func(i *sdk.Info) string { return i.ActivityRunID },
	"activity_type":      func(i *sdk.Info) string { return i.ActivityType.Name },
	"attempt":            func(i *sdk.Info) string { return strconv.Itoa(int(i.Attempt)) },
	"task_queue":         func(i *sdk.Info) string { return i.TaskQueue },
}

// WorkflowType returns the name of the workflow's type; "" for an activity without one.
func WorkflowType(i *sdk.Info) string {
	if i.WorkflowType == nil {
		return ""
	}
	return i.WorkflowType.Name
}

// workflowNamespace is empty for an activity that no workflow started.
func workflowNamespace(i *sdk.Info) string {
	if i.WorkflowExecution.ID == "" {
		return ""
	}
	return i.Namespace
}

// Values returns the variables of an activity. Without info, outside of
// Temporal, all are empty.
func Values(info *sdk.Info) map[string]string {
	values := make(map[string]string, len(builtins))
	for name, get := range builtins {
		values[name] = ""
		if info != nil {
			values[name] = get(info)
		}
	}
	return values
}

// Check returns an error if a URL with variables is invalid, see the package comment. vars are
// variables in addition to the ten of every activity. The error is store.ErrURL.
func Check(url string, vars ...string) error {
	t, err := Parse(url)
	if err != nil {
		return err
	}
	return t.checkNames(slices.Concat(vars, builtinNames()))
}

func builtinNames() []string { return slices.Collect(maps.Keys(builtins)) }

// Template is a URL whose key may have variables. It is immutable.
type Template struct {
	raw      string
	url      store.URL // its Key is the part before segments, with a slash at the end if it is not empty
	segments [][]part  // of the rest of the key, split at the template's own slashes
}

// part is a piece of a segment.
type part struct {
	text     string // literal text, or the name of a variable
	variable bool
	many     bool // of a variable: its value may have slashes
}

// String returns the part as in the template, without doubling braces.
func (p part) String() string {
	switch {
	case p.many:
		return "{" + p.text + "...}"
	case p.variable:
		return "{" + p.text + "}"
	}
	return p.text
}

// Parse splits a URL, and then its key at the variables. The URL must be valid as written, so
// that no value can change its scheme, bucket or options, and this program must have the
// driver of its scheme.
func Parse(raw string) (*Template, error) {
	t := &Template{raw: raw}
	if err := t.checkPlace(); err != nil {
		return nil, err
	}
	u, err := store.ParseURL(raw)
	if err == nil {
		err = store.CheckDriver(u)
	}
	if err != nil {
		return nil, err
	}
	key, fixed := u.Key, ""
	if relative(raw) {
		// The working directory precedes the written path, and is not part of the template.
		wd, err := store.ParsePrefix(".")
		if err != nil {
			return nil, err
		}
		if wd.Key != "" {
			fixed = wd.Key + "/"
		}
		key = strings.TrimPrefix(key, fixed)
	}
	u.Key = fixed
	t.url = u
	for s := range strings.SplitSeq(key, "/") {
		parts, err := t.parseSegment(s)
		if err != nil {
			return nil, err
		}
		t.segments = append(t.segments, parts)
	}
	return t, t.checkMany()
}

// checkMany refuses a second variable whose value may have slashes: with two, a/b and c
// would be the same key as a and b/c.
func (t *Template) checkMany() error {
	var first part
	for _, segment := range t.segments {
		for _, p := range segment {
			switch {
			case !p.many:
			case first.text == "":
				first = p
			case first != p:
				return t.bad("%v and %v: one variable at most can be of several segments, since with two different values would have the same key", first, p)
			}
		}
	}
	return nil
}

// New parses a template whose variables are known when the worker starts,
// unless a function returns more of them later.
func New(url string, more func([]any) (map[string]string, error)) (*Template, error) {
	t, err := Parse(url)
	if err == nil && more == nil {
		err = t.checkNames(builtinNames())
	}
	return t, err
}

// relative reports whether raw is a path that does not begin with a slash.
func relative(raw string) bool {
	first, _, _ := strings.Cut(raw, "/")
	return !strings.HasPrefix(raw, "/") && !strings.Contains(first, ":")
}

// Redacted returns the template as it was written, without options, which may be secrets.
func (t *Template) Redacted() string { return Redacted(t.raw) }

// bad is the error for a template.
func (t *Template) bad(format string, args ...any) error {
	return fmt.Errorf("url template %q: %w: %s", t.Redacted(), store.ErrURL, fmt.Sprintf(format, args...))
}

// Redacted leaves the options out, which may be secrets.
func Redacted(raw string) string {
	place, _, found := strings.Cut(raw, "?")
	place = store.RedactText(place)
	if found {
		place += "?…"
	}
	return place
}

const onlyInKey = "variables can stand in the key only; write the %s out"

// checkPlace refuses braces before and after the key.
func (t *Template) checkPlace() error {
	place, query, _ := strings.Cut(t.raw, "?")
	if strings.ContainsAny(query, "{}") {
		return t.bad(onlyInKey, "options")
	}
	scheme, rest, found := strings.Cut(place, ":")
	if !found || strings.Contains(scheme, "/") {
		return nil // a path
	}
	if strings.ContainsAny(scheme, "{}") {
		return t.bad(onlyInKey, "scheme")
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
	if strings.HasPrefix(rest, "//") && strings.ContainsAny(bucket, "{}") {
		return t.bad(onlyInKey, "bucket")
	}
	return nil
}

// parseSegment splits text at {name}. {{ and }} are braces, as in Python's
// str.format.
func (t *Template) parseSegment(s string) ([]part, error) {
	var parts []part
	var text strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			text.WriteString(s)
			break
		}
		text.WriteString(s[:i])
		brace := s[i]
		s = s[i+1:]
		switch {
		case strings.HasPrefix(s, string(brace)):
			text.WriteByte(brace)
			s = s[1:]
			continue
		case brace == '}':
			return nil, t.bad("a single \"}\"; write \"}}\" for a brace")
		}
		name, rest, found := strings.Cut(s, "}")
		if !found {
			return nil, t.bad("\"{%s\" is not closed in its segment; write \"{name}\", or \"{{\" for a brace", s)
		}
		name, many := strings.CutSuffix(name, "...")
		if !isName(name) {
			return nil, t.bad("{%s} is no variable; a name is of letters, digits and underscores, and \"{{\" is a brace", name)
		}
		if text.Len() > 0 {
			parts = append(parts, part{text: text.String()})
			text.Reset()
		}
		parts = append(parts, part{text: name, variable: true, many: many})
		s = rest
	}
	if text.Len() > 0 {
		parts = append(parts, part{text: text.String()})
	}
	return parts, nil
}

func isName(s string) bool {
	for i, r := range s {
		if r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r)) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// names returns the variables of the template, in order, each once.
func (t *Template) names() []string {
	var names []string
	for _, segment := range t.segments {
		for _, p := range segment {
			if p.variable && !slices.Contains(names, p.text) {
				names = append(names, p.text)
			}
		}
	}
	return names
}

// checkNames refuses variables that are not known.
func (t *Template) checkNames(known []string) error {
	for _, name := range t.names() {
		if !slices.Contains(known, name) {
			sorted := slices.Sorted(slices.Values(known))
			return t.bad("unknown variable {%s}; the known ones are %s", name, strings.Join(slices.Compact(sorted), ", "))
		}
	}
	return nil
}

// Expand inserts values, once and literally: braces in a value stay braces. A value that would
// make an invalid key is refused by name, and so is one with a slash, unless the template says
// {name...}.
func (t *Template) Expand(values map[string]string) (store.URL, error) {
	if err := t.checkNames(slices.Collect(maps.Keys(values))); err != nil {
		return store.URL{}, err
	}
	segments := make([]string, len(t.segments))
	for i, parts := range t.segments {
		var b strings.Builder
		for _, p := range parts {
			if !p.variable {
				b.WriteString(p.text)
				continue
			}
			value := values[p.text]
			if why := t.badValue(p, value); why != "" {
				return store.URL{}, t.bad("%v is %q: %s", p, value, why)
			}
			b.WriteString(value)
		}
		segments[i] = b.String()
		if err := t.checkSegment(parts, segments[i], values); err != nil {
			return store.URL{}, err
		}
	}
	u := t.url
	u.Key += strings.Join(segments, "/")
	return u, t.checkResult(u, values)
}

// badValue says why a value is invalid for a variable; "" if it is valid.
func (t *Template) badValue(p part, value string) string {
	switch {
	case !p.many && strings.Contains(value, "/"):
		return fmt.Sprintf("the variable is one segment of the key; write {%s...} where its value may have slashes", p.text)
	case !utf8.ValidString(value):
		return "it is not UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "a control character cannot be in a key"
	case strings.ContainsAny(value, "#?"):
		return "\"#\" and \"?\" cannot be in a key"
	case t.url.Scheme == "azblob" && strings.Contains(value, `\`):
		return `a "\" cannot be in a key`
	}
	return ""
}

// checkSegment refuses a segment that values have made empty, "." or "..".
func (t *Template) checkSegment(parts []part, expanded string, values map[string]string) error {
	if !slices.ContainsFunc(parts, func(p part) bool { return p.variable }) {
		return nil // it is exactly what the user wrote
	}
	for s := range strings.SplitSeq(expanded, "/") {
		switch s {
		case "":
			return t.bad("%s: the key would have an empty segment", settings(parts, values))
		case ".", "..":
			return t.bad("%s: the key would have the segment %q", settings(parts, values), s)
		}
	}
	return nil
}

// settings lists the values of the variables of a segment.
func settings(parts []part, values map[string]string) string {
	var list []string
	for _, p := range parts {
		if p.variable {
			list = append(list, fmt.Sprintf("%v is %q", p, values[p.text]))
		}
	}
	return strings.Join(list, ", ")
}

// checkResult ensures that a store parses the assembled URL back to the same.
func (t *Template) checkResult(u store.URL, values map[string]string) error {
	read, err := store.ParseURL(u.String())
	if err == nil && read == u {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("it would be read as the key %q", read.Key)
	}
	var list []part
	for _, name := range t.names() {
		list = append(list, part{text: name, variable: true})
	}
	return t.bad("%s: %v", settings(list, values), err)
}
