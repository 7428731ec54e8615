package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/workdir/workdir/mount"
)

// statusPatience bounds how long a scrape waits for a mount that does not answer.
const statusPatience = 5 * time.Second

// observed is a mount that serves metrics and health.
type observed struct {
	scheme, mode string
	openTook     time.Duration
	status       func(context.Context) (mount.Status, error)
}

// listenMetrics listens at an address, host:port; nil if that is "".
func listenMetrics(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &statusError{code: exitUsage, err: fmt.Errorf("--metrics: %w", err)}
	}
	return l, nil
}

// serveMetrics serves /metrics for Prometheus and /healthz until the process ends.
func (a *app) serveMetrics(l net.Listener, o *observed) {
	a.log.Info("metrics are at http://" + l.Addr().String() + "/metrics")
	server := &http.Server{Handler: o.handler(), ReadHeaderTimeout: statusPatience}
	go func() { _ = server.Serve(l) }() // it ends with the process
}

func (o *observed) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		status, err := o.ask(r.Context())
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, o.metrics(status, err == nil)) // fails only if the client is gone
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		status, err := o.ask(r.Context())
		switch {
		case err != nil:
			http.Error(w, "the mount does not answer: "+err.Error(), http.StatusServiceUnavailable)
		case status.ReadError != "":
			http.Error(w, "the archive cannot be read: "+status.ReadError, http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, status.State)
		}
	})
	return mux
}

func (o *observed) ask(ctx context.Context) (mount.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	return o.status(ctx)
}

// metrics returns the metrics in Prometheus' text format, under the names of package activity
// (docs/observability.md). For a mount that does not answer there is only workdir_mounted,
// with 0.
func (o *observed) metrics(s mount.Status, answers bool) string {
	out := &exposition{labels: fmt.Sprintf("scheme=%q,mode=%q", o.scheme, o.mode)}
	mounted := int64(0)
	if answers {
		mounted = 1
	}
	out.family("workdir_mounted", "gauge", "Workspaces that are mounted now.")
	out.sample("workdir_mounted", "", mounted)
	if !answers {
		return out.text
	}
	out.family("workdir_memory", "gauge", "Content of mounted workspaces, in bytes.")
	out.sample("workdir_memory", "", s.Bytes)
	out.family("workdir_opens_total", "counter", "Workspaces that were mounted.")
	out.sample("workdir_opens_total", "", 1)
	out.family("workdir_open_latency_seconds", "summary", "From the call to the mounted workspace.")
	out.sample("workdir_open_latency_seconds_sum", "", o.openTook.Seconds())
	out.sample("workdir_open_latency_seconds_count", "", 1)
	if s.Traffic == nil {
		return out.text
	}
	operations := slices.Sorted(maps.Keys(s.Traffic))
	var sent, received int64
	out.family("workdir_requests_total", "counter", "Requests to the store, retries included.")
	for _, op := range operations {
		out.sample("workdir_requests_total", fmt.Sprintf("operation=%q", op), s.Traffic[op].Count)
		sent += s.Traffic[op].Sent
		received += s.Traffic[op].Received
	}
	out.family("workdir_retries_total", "counter", "Requests to the store that were sent again.")
	for _, op := range operations {
		out.sample("workdir_retries_total", fmt.Sprintf("operation=%q", op), s.Traffic[op].Retries)
	}
	out.family("workdir_bytes_sent_total", "counter", "Bodies of requests to the store, in bytes.")
	out.sample("workdir_bytes_sent_total", "", sent)
	out.family("workdir_bytes_received_total", "counter", "Bodies of answers of the store, in bytes.")
	out.sample("workdir_bytes_received_total", "", received)
	return out.text
}

// exposition is text in Prometheus' format being written.
type exposition struct {
	labels string // of every sample
	text   string
}

func (e *exposition) family(name, kind, help string) {
	e.text += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
}

func (e *exposition) sample(name, label string, value any) {
	labels := e.labels
	if label != "" {
		labels += "," + label
	}
	e.text += fmt.Sprintf("%s{%s} %v\n", name, labels, value)
}

// modeOf is the label mode.
func modeOf(readOnly bool) string {
	if readOnly {
		return "ro"
	}
	return "rw"
}
