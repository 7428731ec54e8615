package activity

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readDoc(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{".."}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// metricNames returns the names that the source has.
func metricNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`\tmetric\w+ += "(workdir_\w+)"`).FindAllStringSubmatch(readDoc(t, "activity", "metrics.go"), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatal("no metrics found")
	}
	return names
}

func TestEveryMetricIsDocumented(t *testing.T) {
	doc := readDoc(t, "docs", "observability.md")
	for _, name := range metricNames(t) {
		if !regexp.MustCompile(`(?m)^\| [^|]*` + "`" + name + "`").MatchString(doc) {
			t.Errorf("docs/observability.md has no row for %s", name)
		}
	}
}

// The dashboard is JSON, shows every metric, and no other of ours.
func TestDashboardShowsEveryMetric(t *testing.T) {
	text := readDoc(t, "docs", "grafana", "workdir.json")
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			found := regexp.MustCompile(`workdir_\w+`).FindString(target.Expr)
			shown = append(shown, strings.TrimSuffix(found, "_seconds_bucket"))
		}
	}
	want := metricNames(t)
	for _, name := range want {
		if !slices.Contains(shown, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
	for _, name := range shown {
		if !slices.Contains(want, name) {
			t.Errorf("a panel shows %q, which there is not", name)
		}
	}
}

func TestEveryLogLineIsDocumented(t *testing.T) {
	_, table, _ := strings.Cut(readDoc(t, "docs", "observability.md"), "| Level | Message |")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []string
	for _, row := range strings.Split(table, "\n")[2:] {
		documented = append(documented, strings.TrimSpace(strings.Split(row, "|")[2]))
	}
	source := readDoc(t, "activity", "metrics.go") + readDoc(t, "activity", "preflight.go") +
		readDoc(t, "store", "drivers", "internal", "cloud", "waiting.go")
	for _, m := range documented {
		if !strings.Contains(source, `"`+m+`"`) {
			t.Errorf("nothing logs %q", m)
		}
	}
	for _, m := range regexp.MustCompile(`(?:slog\.Level\w+, |level, |\.(?:Debug|Info|Warn)\()"([^"]+)"`).FindAllStringSubmatch(source, -1) {
		if !slices.Contains(documented, m[1]) {
			t.Errorf("docs/observability.md has no row for %q", m[1])
		}
	}
}

func TestEveryFieldOfARuleIsDocumented(t *testing.T) {
	_, section, _ := strings.Cut(readDoc(t, "docs", "activities.md"), "\n## Rules")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, v := range []any{PluginOptions{}, Rule{}, RuleWorkspace{}, Options{}} {
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue
			}
			if yaml, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); yaml != name {
				t.Errorf("%T.%s is %q in JSON and %q in YAML", v, f.Name, name, yaml)
			}
			if name != "-" && !strings.Contains(section, "`"+name+"`") && !strings.Contains(section, name+":") {
				t.Errorf("docs/activities.md: no %s of %T", name, v)
			}
		}
	}
}
