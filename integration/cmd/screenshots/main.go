// Command screenshots writes pictures of the pages of package ui, dark and light, into a
// directory: what docs/ui.md shows. scripts/screenshots.sh runs it.
package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/integration/internal/browser"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/ui"
)

func main() {
	mount.Init()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: screenshots DIR")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

// demo is a store with work of some workflows in it. Its methods do nothing after an error.
type demo struct {
	ctx    context.Context
	url    string // of the prefix
	runDir string
	mounts []*mount.Mount
	err    error
}

func run(ctx context.Context, out string) (err error) {
	dir, err := os.MkdirTemp("/tmp", "demo") // whatever TMPDIR is: the pictures show it
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{ctx: ctx, url: "file://" + filepath.Join(dir, "jobs"), runDir: filepath.Join(dir, "run")}
	defer d.close()
	d.fill()
	if d.err != nil {
		return d.err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h, err := ui.NewHandler(d.url, l.Addr().String(), &ui.Options{RunDir: d.runDir, TemporalUI: "http://localhost:8233"})
	if err != nil {
		return err
	}
	defer h.Close()
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	defer func() { _ = server.Close() }() // its listener was open
	go func() { _ = server.Serve(l) }()   // until it is closed
	b, err := browser.Start(ctx, 1000, 640)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := chromedp.Run(b.Ctx, chromedp.EmulateViewport(1000, 600), chromedp.Navigate(h.URL())); err != nil {
		return err
	}
	return shoot(b, "http://"+l.Addr().String(), d, out)
}

// shoot takes the pictures.
func shoot(b *browser.Browser, base string, d *demo, out string) error {
	live := "/mount?path=" + url.QueryEscape(d.mounts[0].Path())
	for _, p := range []struct{ name, scheme, path, follow string }{
		{"workspace", "light", "/workspace?name=orders-4711", ""},
		{"diff", "dark", "/workspace?name=orders-4711", `document.querySelector("a[href^='/diff']").click()`},
		{"mount", "light", live, ""},
		{"files", "dark", "/file?name=orders-4711&path=prices.csv", ""},
	} {
		if err := b.Prefer(p.scheme); err != nil {
			return err
		}
		actions := []chromedp.Action{chromedp.Navigate(base + p.path), chromedp.WaitReady("main")}
		if p.follow != "" {
			actions = append(actions, chromedp.Evaluate(p.follow, nil), chromedp.WaitReady(".changes a"),
				chromedp.Evaluate(`[...document.querySelectorAll(".changes a")].find(a => a.textContent.includes("import.py")).click()`, nil), chromedp.WaitReady("table.sides"))
		}
		var shot []byte
		actions = append(actions, chromedp.CaptureScreenshot(&shot))
		if err := chromedp.Run(b.Ctx, actions...); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := write(filepath.Join(out, "ui-"+p.name+"-"+p.scheme+".png"), shot); err != nil {
			return err
		}
	}
	return nil
}

// write writes a picture with at most 256 colours, which makes it small.
func write(path string, shot []byte) error {
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return err
	}
	small := image.NewPaletted(img.Bounds(), palette(img))
	draw.Draw(small, small.Bounds(), img, img.Bounds().Min, draw.Src)
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, small); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes\n", path, b.Len())
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// palette returns the colours of a picture that it has most of.
func palette(img image.Image) color.Palette {
	count := map[color.Color]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			count[color.NRGBAModel.Convert(img.At(x, y))]++
		}
	}
	var p color.Palette
	for len(p) < 256 && len(count) > 0 {
		var most color.Color
		for c, n := range count {
			if most == nil || n > count[most] {
				most = c
			}
		}
		p = append(p, most)
		delete(count, most)
	}
	return p
}

const script = `import csv

def load(path):
    with open(path) as f:
        return list(csv.DictReader(f))

def total(rows):
    return sum(float(r["price"]) for r in rows)
`

// fill makes three workspaces, one of them with a history, and one that is worked on.
func (d *demo) fill() {
	prices := "sku,name,price,currency\nA-100,Hex bolt M8,0.12,EUR\nA-101,Hex nut M8,0.06,EUR\nB-220,Angle bracket,1.45,EUR\nC-310,Torx driver,8.90,EUR\nC-311,Torx bits (10),12.50,EUR\n"
	first := map[string]string{"prices.csv": prices, "import.py": script, "README.md": "# Orders\n"}
	d.commit("orders-4711", "Import", "FetchPrices", 1, "prices of November", first, nil)
	d.commit("orders-4711", "Import", "Convert", 2, "", map[string]string{"out/prices.json": "{}\n", "out/summary.txt": "5 rows\n"}, nil)
	fixed := strings.Replace(script, `sum(float(r["price"]) for r in rows)`, "sum(Decimal(r[\"price\"]) for r in rows)", 1)
	fixed = strings.Replace(fixed, "import csv\n", "import csv\nfrom decimal import Decimal\n", 1)
	d.commit("orders-4711", "Import", "Review", 1, "money is not a float", map[string]string{"import.py": fixed, "out/prices.json": "{\"rows\": 5}\n"}, []string{"README.md"})
	d.commit("orders-4712", "Import", "FetchPrices", 1, "", first, nil)
	d.commit("report-2026", "Report", "Render", 1, "", map[string]string{"report.html": "<h1>Report</h1>\n"}, nil)
	m := d.open("orders-4712", "Import", "Convert", 1)
	d.work(m, map[string]string{"out/prices.json": "{}\n", "out/part-1.parquet": strings.Repeat("x", 48<<10), "import.py": fixed}, []string{"README.md"})
	if d.err == nil {
		d.err = os.Rename(m.Path("prices.csv"), m.Path("prices-2026-11.csv"))
	}
}

func (d *demo) open(name, workflow, activity string, attempt int32) *mount.Mount {
	if d.err != nil {
		return nil
	}
	var m *mount.Mount
	m, d.err = mount.Open(d.ctx, d.url+"/"+name, &mount.Options{
		View: mount.ViewPlain, RunDir: d.runDir, Keep: store.Keep{Last: 10},
		Origin: archive.Origin{
			Execution: name + activity, Scheduled: time.Now().Add(-17 * time.Second), Namespace: "default", WorkflowID: name, RunID: "0193f7a2-7c1e-7a3b",
			WorkflowType: workflow, ActivityType: activity, ActivityID: "5", Attempt: attempt, Worker: "worker-1@shop",
		},
	})
	if d.err == nil {
		d.mounts = append(d.mounts, m)
	}
	return m
}

func (d *demo) work(m *mount.Mount, files map[string]string, gone []string) {
	for name, text := range files {
		if d.err == nil {
			d.err = os.MkdirAll(filepath.Dir(m.Path(name)), 0o755)
		}
		if d.err == nil {
			d.err = os.WriteFile(m.Path(name), []byte(text), 0o644)
		}
	}
	for _, name := range gone {
		if d.err == nil {
			d.err = os.Remove(m.Path(name))
		}
	}
}

func (d *demo) commit(name, workflow, activity string, attempt int32, message string, files map[string]string, gone []string) {
	m := d.open(name, workflow, activity, attempt)
	d.work(m, files, gone)
	if d.err == nil {
		d.err = m.SetMessage(message)
	}
	if d.err == nil {
		d.err = m.Commit()
	}
	if d.err == nil {
		_, d.err = m.Close(d.ctx)
		d.mounts = d.mounts[:len(d.mounts)-1]
	}
}

func (d *demo) close() {
	for _, m := range d.mounts {
		_, _ = m.Close(d.ctx) // nothing is stored
	}
	_ = mount.Stop(d.ctx) // likewise
}
