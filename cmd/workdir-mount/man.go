package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/mount"
)

// exitMeanings are the exit codes for people, as in docs/cli.md.
var exitMeanings = [][2]string{
	{"0", "done"},
	{"1", "diff: the workspaces differ"},
	{"100", "the command line or the URL is wrong, the path is in no mounted workspace, there is no such file in the workspace, or something is in the place that an export would write to"},
	{"101", "the store cannot be reached, does not allow it, or has no file in the archive's place; or there is no archive where one is needed, or one where there must be none"},
	{"102", "this host or this mountpoint does not allow a mount"},
	{"103", "the archive is refused: damaged, hostile, or beyond a limit"},
	{"104", "conflict: another commit came in between; nothing was stored"},
	{"105", "busy: something still uses the mount; nothing was stored"},
	{"106", "the commit failed; nothing was stored"},
	{"107", "the server process was lost; the message says what is known of a commit"},
	{"108", "a limit was reached: the workspace does not fit into --max-bytes or --max-inodes, or its archive into what --fetch-all may keep"},
	{"109", "the store's answer was lost: the commit may have been stored; or the log has forgotten too much to tell whether a step was committed"},
	{"110", "anything else that failed in workdir-mount"},
	{"111", "exec --execution: the step is done already, and the result that --result-file asks for is not kept any more"},
	{"128 + n", "signal n ended workdir-mount before it was done"},
}

func (a *app) manPagesCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man-pages DIR",
		Short:  "Write the manual pages, for packages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(cmd *cobra.Command, args []string) error { return writeManPages(cmd.Root(), args[0]) },
	}
}

// writeManPages writes a page of section 1 for the program and one for each command. The pages
// depend only on the commands and the version.
func writeManPages(root *cobra.Command, dir string) error {
	for _, cmd := range append([]*cobra.Command{root}, root.Commands()...) {
		if cmd.Hidden {
			continue
		}
		path := filepath.Join(dir, pageName(cmd)+".1")
		if err := os.WriteFile(path, []byte(manPage(cmd)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pageName(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", "-")
}

// manPage returns the page of a command in the language of man(7).
func manPage(cmd *cobra.Command) string {
	p := &page{}
	p.request(".TH", strings.ToUpper(pageName(cmd)), "1", "", "workdir "+mount.Version(), "workdir")
	p.section("NAME")
	p.text(pageName(cmd) + " - " + strings.ToLower(cmd.Short[:1]) + cmd.Short[1:])
	p.section("SYNOPSIS")
	p.verbatim(synopsis(cmd))
	p.section("DESCRIPTION")
	p.paragraphs(cmd.Long)
	if cmd.Long == "" {
		p.text(cmd.Short + ".")
	}
	if !cmd.HasParent() {
		p.section("COMMANDS")
		for _, sub := range cmd.Commands() {
			if !sub.Hidden {
				p.item(sub.Use, sub.Short+".")
			}
		}
	}
	p.flags("OPTIONS", cmd.NonInheritedFlags())
	p.flags("OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		p.section("EXAMPLES")
		p.verbatim(unindented(cmd.Example))
	}
	if !cmd.HasParent() {
		p.section("EXIT STATUS")
		for _, row := range exitMeanings {
			p.item(row[0], row[1])
		}
		p.section("ENVIRONMENT")
		p.item(runDirVariable, "The run directory, if --run-dir is not given.")
	}
	p.section("SEE ALSO")
	p.text(seeAlso(cmd))
	return p.String()
}

func synopsis(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return cmd.Name() + " COMMAND [ARG]..."
	}
	return cmd.UseLine()
}

func seeAlso(cmd *cobra.Command) string {
	var pages []string
	if cmd.HasParent() {
		return cmd.Root().Name() + "(1), fusermount3(1), umount(8)"
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			pages = append(pages, pageName(sub)+"(1)")
		}
	}
	return strings.Join(pages, ", ")
}

// page is a manual page being written.
type page struct{ strings.Builder }

// roff escapes characters that are special to the formatter, and keeps "-" a hyphen-minus that
// can be copied.
var roff = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// escaped returns the text with lines escaped that would be requests.
func escaped(text string) string {
	text = roff.Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return strings.ReplaceAll(text, "\n.", "\n\\&.")
}

func (p *page) request(name string, args ...string) {
	p.WriteString(name)
	for _, arg := range args {
		fmt.Fprintf(p, " \"%s\"", strings.ReplaceAll(roff.Replace(arg), `"`, `\(dq`))
	}
	p.WriteString("\n")
}

func (p *page) section(title string) { p.request(".SH", title) }

func (p *page) text(text string) { p.WriteString(escaped(text) + "\n") }

// paragraphs writes paragraphs of text. Indented ones keep their lines.
func (p *page) paragraphs(text string) {
	for k, paragraph := range strings.Split(text, "\n\n") {
		if k > 0 {
			p.WriteString(".PP\n")
		}
		var filled []string
		for line := range strings.SplitSeq(paragraph, "\n") {
			if strings.HasPrefix(line, "  ") {
				p.fill(&filled)
				p.verbatim(strings.TrimLeft(line, " "))
				continue
			}
			filled = append(filled, line)
		}
		p.fill(&filled)
	}
}

// fill writes lines that the formatter may rewrap.
func (p *page) fill(lines *[]string) {
	if len(*lines) > 0 {
		p.text(strings.Join(*lines, "\n"))
	}
	*lines = nil
}

// verbatim writes lines that are not rewrapped.
func (p *page) verbatim(text string) {
	p.WriteString(".RS 4\n.nf\n")
	p.text(text)
	p.WriteString(".fi\n.RE\n")
}

// item writes a term and its meaning.
func (p *page) item(term, meaning string) {
	p.request(".TP")
	p.request(".B", term)
	p.text(meaning)
}

func (p *page) flags(title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p.section(title)
	flags.VisitAll(func(f *pflag.Flag) {
		value, meaning := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if value != "" {
			term += " " + value
		}
		p.item(term, meaning)
	})
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for k := range lines {
		lines[k] = strings.TrimPrefix(lines[k], "  ")
	}
	return strings.Join(lines, "\n")
}
