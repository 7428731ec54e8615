package activity

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.temporal.io/sdk/converter"
)

// InterceptorOptions say which activities run in which workspaces. They can be
// read from JSON or YAML.
type InterceptorOptions struct {
	// Rules in order: the first whose Activity is an activity's type counts. An
	// activity without a rule runs as if there were no interceptor.
	Rules []Rule `json:"rules" yaml:"rules"`
	// Plain gives plain directories instead of mounts, see mount.Options.
	Plain bool `json:"plain,omitempty" yaml:"plain,omitempty"`
	// RunDir is as mount.Options.RunDir. "": mount.DefaultRunDir.
	RunDir string `json:"runDir,omitempty" yaml:"runDir,omitempty"`
	// DataConverter is as Options.DataConverter.
	DataConverter converter.DataConverter `json:"-" yaml:"-"`
}

// Rule gives an activity its workspaces.
type Rule struct {
	// Activity is the name of an activity's type; * in it stands for any characters.
	Activity string `json:"activity" yaml:"activity"`
	// Workspaces are mounted while the activity runs, one of them at most for
	// writing: two could not be stored as one. The first is what Workspace, Path and
	// Command mean. Without any, the activity runs without.
	Workspaces []RuleWorkspace `json:"workspaces,omitempty" yaml:"workspaces,omitempty"`
}

// RuleWorkspace is one workspace of a rule. What has no comment is as in Options.
type RuleWorkspace struct {
	// Name is what WorkspaceNamed asks for: letters, digits, - and _. "": it is
	// found as the first alone.
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// URL is a template, see the package comment.
	URL string `json:"url" yaml:"url"`
	// Env is the environment variable that has the path for tools, see Environ. "":
	// WORKDIR for the first, WORKDIR_NAME for one with a name.
	Env          string   `json:"env,omitempty" yaml:"env,omitempty"`
	Dir          string   `json:"dir,omitempty" yaml:"dir,omitempty"` // an absolute path
	ReadOnly     bool     `json:"readOnly,omitempty" yaml:"readOnly,omitempty"`
	AutoCommit   bool     `json:"autoCommit,omitempty" yaml:"autoCommit,omitempty"`
	MaxBytes     int64    `json:"maxBytes,omitempty" yaml:"maxBytes,omitempty"`
	MaxInodes    int64    `json:"maxInodes,omitempty" yaml:"maxInodes,omitempty"`
	Spill        string   `json:"spill,omitempty" yaml:"spill,omitempty"`
	SpillReserve int64    `json:"spillReserve,omitempty" yaml:"spillReserve,omitempty"`
	KeepEmpty    bool     `json:"keepEmpty,omitempty" yaml:"keepEmpty,omitempty"`
	Portable     bool     `json:"portable,omitempty" yaml:"portable,omitempty"`
	Grace        Duration `json:"grace,omitempty" yaml:"grace,omitempty"`
	CloseTimeout Duration `json:"closeTimeout,omitempty" yaml:"closeTimeout,omitempty"`
	Vars         VarsFunc `json:"-" yaml:"-"`
}

// Duration is a time.Duration that is written as "90s" in JSON and YAML.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Check says what is wrong with the options: a template that can never work, a
// name twice, two workspaces for writing.
func (o *InterceptorOptions) Check() error {
	_, err := o.compile()
	return err
}

// compile makes the rules ready to be used.
func (o *InterceptorOptions) compile() ([]rule, error) {
	rules := make([]rule, 0, len(o.Rules))
	seen := map[string]int{}
	for i := range o.Rules {
		r, err := o.compileRule(&o.Rules[i])
		if err != nil {
			return nil, fmt.Errorf("interceptor rule %d (%s): %w", i+1, o.Rules[i].Activity, err)
		}
		if first, twice := seen[o.Rules[i].Activity]; twice {
			return nil, fmt.Errorf("interceptor rule %d (%s): rule %d is for the same activities", i+1, o.Rules[i].Activity, first)
		}
		seen[o.Rules[i].Activity] = i + 1
		rules = append(rules, r)
	}
	return rules, nil
}

// rule is a Rule that was found good.
type rule struct {
	activity *regexp.Regexp
	list     []workspaceRule // as in the rule; the first is the main one
	order    []int           // of mounting: the one for writing comes first
}

// workspaceRule is a RuleWorkspace that was found good.
type workspaceRule struct {
	name, env string
	tmpl      *template
	opts      *Options
}

var (
	goodName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	goodEnv  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (o *InterceptorOptions) compileRule(r *Rule) (rule, error) {
	if r.Activity == "" {
		return rule{}, errors.New("activity: write the name of an activity's type, or *")
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(r.Activity), `\*`, `.*`)
	c := rule{activity: regexp.MustCompile(`(?s)^` + pattern + `$`)}
	var names, urls, envs, dirs unique
	var readOnly []int
	for i := range r.Workspaces {
		w, err := o.compileWorkspace(&r.Workspaces[i], i == 0)
		if err != nil {
			return rule{}, fmt.Errorf("workspace %d: %w", i+1, err)
		}
		err = errors.Join(names.add("name", w.name), urls.add("url", r.Workspaces[i].URL), envs.add("env", w.env), envs.add("env", urlVariable(w.env)), dirs.add("dir", w.opts.Dir))
		if err != nil {
			return rule{}, fmt.Errorf("workspace %d: %w", i+1, err)
		}
		switch {
		case w.opts.ReadOnly:
			readOnly = append(readOnly, i)
		case len(c.order) > 0:
			return rule{}, fmt.Errorf("workspace %d: a second one for writing, and both could not be stored as one; make it readOnly, or call Do in the activity", i+1)
		default:
			c.order = append(c.order, i)
		}
		c.list = append(c.list, w)
	}
	c.order = append(c.order, readOnly...)
	return c, nil
}

// unique are values that may not come twice.
type unique map[string]bool

func (u *unique) add(what, value string) error {
	if *u == nil {
		*u = unique{}
	}
	if value != "" && (*u)[value] {
		return fmt.Errorf("%s: %s is given to another one already", what, value)
	}
	(*u)[value] = true
	return nil
}

func (o *InterceptorOptions) compileWorkspace(w *RuleWorkspace, first bool) (workspaceRule, error) {
	c := workspaceRule{name: w.Name, env: w.Env}
	switch {
	case w.Name != "" && !goodName.MatchString(w.Name):
		return c, fmt.Errorf("name: %q is not of letters, digits, - and _", w.Name)
	case w.Name == "" && !first:
		return c, errors.New("name: it is needed to find any workspace but the first")
	case w.Dir != "" && !filepath.IsAbs(w.Dir):
		return c, fmt.Errorf("dir: %q is not an absolute path", w.Dir)
	case w.ReadOnly && w.AutoCommit:
		return c, errors.New("autoCommit: a read-only workspace is never stored")
	}
	if c.env == "" {
		c.env = pathVariable(w.Name, first)
	}
	if !goodEnv.MatchString(c.env) {
		return c, fmt.Errorf("env: %q is no name of an environment variable", c.env)
	}
	var err error
	c.tmpl, err = newTemplate(w.URL, w.Vars)
	c.opts = &Options{
		Dir: cleanDir(w.Dir), ReadOnly: w.ReadOnly, AutoCommit: w.AutoCommit, MaxBytes: w.MaxBytes, MaxInodes: w.MaxInodes, Spill: w.Spill, SpillReserve: w.SpillReserve,
		KeepEmpty: w.KeepEmpty, Portable: w.Portable, Grace: time.Duration(w.Grace), CloseTimeout: time.Duration(w.CloseTimeout),
		Vars: w.Vars, Plain: o.Plain, RunDir: o.RunDir, DataConverter: o.DataConverter,
	}
	return c, err
}

// find gives the rule of an activity; nil if there is none.
func find(rules []rule, activityType string) *rule {
	for i := range rules {
		if rules[i].activity.MatchString(activityType) {
			return &rules[i]
		}
	}
	return nil
}

// cleanDir is filepath.Clean, and leaves "" as it is.
func cleanDir(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Clean(dir)
}
