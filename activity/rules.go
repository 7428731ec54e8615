package activity

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/workdir/workdir/activity/internal/template"
)

// Rule assigns workspaces to an activity.
type Rule struct {
	// Activity is a function or method, as for workflow.ExecuteActivity: Build,
	// a.Build, (*Activities).Build, whatever its registered name, even if registered through a
	// struct that embeds its type. Or it is the name of an activity type, as in JSON; * in it
	// matches any characters. Dynamic activities are named by their types. The SDK's own
	// activities for sessions have no workspaces.
	Activity any `json:"activity" yaml:"activity"`
	// URL is the activity's workspace, to which Workspace, Path, Command and Commit refer: a
	// template, see the package comment. Options are its options.
	URL     string `json:"url,omitempty" yaml:"url,omitempty"`
	Options `yaml:",inline"`
	// Workspaces are additional ones, each with a name. Without URL the first of them is the
	// activity's. At most one workspace of a rule is writable: two could not be stored
	// atomically.
	Workspaces []RuleWorkspace `json:"workspaces,omitempty" yaml:"workspaces,omitempty"`
}

// RuleWorkspace is one workspace of a rule.
type RuleWorkspace struct {
	URL     string `json:"url" yaml:"url"` // a template, see the package comment
	Options `yaml:",inline"`
}

// rule is a valid Rule.
type rule struct {
	function string         // the name of the function; "" for a pattern
	pattern  *regexp.Regexp // of activity types; nil for a function
	list     []*workspace   // the first is the activity's
	order    []int          // of mounting: the writable one first
}

// workspace is a template with valid options.
type workspace struct {
	tmpl   *template.Template
	save   *template.Template // of Options.SaveFailed; nil without one
	opts   *Options
	beside bool // an additional one of a rule, found only by name
}

func compileRules(list []Rule) ([]rule, error) {
	rules := make([]rule, 0, len(list))
	seen := map[string]int{}
	for i := range list {
		r, name, err := compileRule(&list[i])
		if err != nil {
			return nil, fmt.Errorf("rule %d (%s): %w", i+1, name, err)
		}
		if first, twice := seen[name]; twice {
			return nil, fmt.Errorf("rule %d (%s): rule %d is for the same activities", i+1, name, first)
		}
		seen[name] = i + 1
		rules = append(rules, r)
	}
	return rules, nil
}

// compileRule returns the rule and its name for messages.
func compileRule(r *Rule) (c rule, name string, err error) {
	if name, err = c.match(r.Activity); err != nil {
		return c, name, err
	}
	list := r.Workspaces
	if r.URL != "" {
		list = append([]RuleWorkspace{{URL: r.URL, Options: r.Options}}, list...)
	} else if !reflect.ValueOf(r.Options).IsZero() {
		return c, name, errors.New("url: there are options for a workspace, but no workspace")
	}
	return c, name, c.add(list)
}

// match sets which activities the rule is for.
func (r *rule) match(activity any) (name string, err error) {
	v := reflect.ValueOf(activity)
	switch {
	case v.Kind() == reflect.String && v.String() != "":
		name = v.String()
		r.pattern = regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(name), `\*`, `.*`) + `$`)
		return name, nil
	case v.Kind() == reflect.Func && !v.IsNil():
		r.function = functionName(v)
		if unnamed.MatchString(r.function) {
			return r.function, errors.New("activity: function literals and generic functions have no unique names; write the registered name")
		}
		return r.function, nil
	}
	return fmt.Sprintf("%T", activity), errors.New("activity: write a function, a method, or the name of an activity type, or *")
}

// add sets the rule's workspaces.
func (r *rule) add(list []RuleWorkspace) error {
	var names, urls, envs, dirs unique
	var readOnly []int
	for i := range list {
		opts := list[i].Options // a copy
		if opts.Dir != "" {
			opts.Dir = filepath.Clean(opts.Dir)
		}
		w := &workspace{opts: &opts, beside: i > 0}
		if i > 0 && opts.Name == "" {
			return fmt.Errorf("workspace %d: name: every workspace except the first needs one", i+1)
		}
		err := opts.check()
		if opts.ReadOnly && opts.AutoCommit {
			err = errors.New("autoCommit: a read-only workspace is never stored")
		}
		if err == nil {
			w.tmpl, err = template.New(list[i].URL, opts.Vars)
		}
		if err == nil && opts.SaveFailed != "" {
			if w.save, err = template.New(opts.SaveFailed, opts.Vars); err != nil {
				err = fmt.Errorf("saveFailed: %w", err)
			}
		}
		if err == nil {
			env := w.variable()
			err = errors.Join(names.add("name", opts.Name), urls.add("url", list[i].URL), envs.add("env", env), envs.add("env", urlVariable(env)), dirs.add("dir", opts.Dir))
		}
		switch {
		case err != nil:
			return fmt.Errorf("workspace %d: %w", i+1, err)
		case opts.ReadOnly:
			readOnly = append(readOnly, i)
		case len(r.order) > 0:
			return fmt.Errorf("workspace %d: a second writable one, and the two could not be stored atomically; make it readOnly, or call Do in the activity", i+1)
		default:
			r.order = append(r.order, i)
		}
		r.list = append(r.list, w)
	}
	r.order = append(r.order, readOnly...)
	return nil
}

// unique is a set of values that must not occur twice.
type unique map[string]bool

func (u *unique) add(what, value string) error {
	if *u == nil {
		*u = unique{}
	}
	if value != "" && (*u)[value] {
		return fmt.Errorf("%s: %s is already used by another one", what, value)
	}
	(*u)[value] = true
	return nil
}
