package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/klauspost/compress/flate"
)

// segmenter compresses segments on all cores and writes them in the order in which they were
// added. A segment refers to nothing before its first byte and ends at a byte boundary (Reset,
// Write, Flush, never Close), so that it can be copied into another archive; its output
// depends only on its bytes and the level.
type segmenter struct {
	ctx   context.Context
	sink  *sink
	level int

	queue chan *segmentJob // to be written, in order
	work  chan *segmentJob // to be compressed
	free  chan []byte      // reusable buffers
	wg    sync.WaitGroup
	segs  []segment // written segments; owned by the writing goroutine until finish
}

// segmentJob is a segment that is being compressed and written.
type segmentJob struct {
	seg    segment
	raw    []byte
	packed []byte
	err    error
	done   chan struct{}
}

// newSegmenter starts a segmenter that writes to s. The caller must always call finish.
func newSegmenter(ctx context.Context, s *sink, level int) *segmenter {
	workers := runtime.GOMAXPROCS(0)
	g := &segmenter{
		ctx: ctx, sink: s, level: level,
		queue: make(chan *segmentJob, workers+1), // bounds the memory
		work:  make(chan *segmentJob, workers+1),
		free:  make(chan []byte, 2*workers+4),
	}
	for range workers {
		g.wg.Go(g.compress)
	}
	g.wg.Go(g.write)
	return g
}

// buffer returns an empty buffer with room for a chunk.
func (g *segmenter) buffer() []byte {
	select {
	case b := <-g.free:
		return b[:0]
	default:
		return make([]byte, 0, chunkSize)
	}
}

// add adds a segment of raw bytes, which the segmenter owns from then on. It returns the
// reason to stop, if any: the context's error or that of the sink.
func (g *segmenter) add(k segKind, raw []byte) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	job := &segmentJob{seg: segment{kind: k, raw: uint32(len(raw)), repeat: 1}, raw: raw, done: make(chan struct{})}
	g.queue <- job
	g.work <- job
	return g.sink.failed()
}

// addZeros adds chunks of zeros.
func (g *segmenter) addZeros(chunks uint32) error {
	job := &segmentJob{seg: zeroChunk().seg, packed: zeroChunk().packed, done: make(chan struct{})}
	job.seg.repeat = chunks
	close(job.done)
	g.queue <- job
	return g.sink.failed()
}

// finish waits until everything is written, and returns the segments. err, if not nil, stops
// the writing.
func (g *segmenter) finish(err error) ([]segment, error) {
	if err != nil {
		g.sink.fail(err)
	}
	close(g.queue)
	close(g.work)
	g.wg.Wait()
	return g.segs, g.sink.failed()
}

// compress compresses the segments in work. flate's state is reused from segment to segment.
func (g *segmenter) compress() {
	var w *flate.Writer
	for job := range g.work {
		func() {
			defer close(job.done)
			defer func() {
				if r := recover(); r != nil { // otherwise it would end the process
					job.err = fmt.Errorf("compress: panic: %v\n%s", r, debug.Stack())
				}
			}()
			if w == nil {
				w, job.err = flate.NewWriter(nil, g.level)
			}
			if job.err == nil {
				job.err = job.pack(w)
			}
		}()
	}
}

// pack compresses the segment.
func (j *segmentJob) pack(w *flate.Writer) error {
	out := bytes.NewBuffer(make([]byte, 0, len(j.raw)/2+64))
	w.Reset(out)
	if _, err := w.Write(j.raw); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	j.packed = out.Bytes()
	j.seg.packed = uint32(len(j.packed))
	j.seg.crc = crc32.ChecksumIEEE(j.raw)
	j.seg.sum = sha256.Sum256(j.packed)
	return nil
}

// write writes the segments in order. After an error it drains the rest, so that no goroutine
// blocks for ever.
func (g *segmenter) write() {
	for job := range g.queue {
		<-job.done
		if job.err != nil {
			g.sink.fail(job.err)
		}
		g.copies(job)
		g.segs = append(g.segs, job.seg)
		if job.raw != nil {
			select {
			case g.free <- job.raw:
			default:
			}
		}
	}
}

// copiesAtOnce is how many copies of a segment are written at once.
const copiesAtOnce = 64

// copies writes all copies of a segment.
func (g *segmenter) copies(job *segmentJob) {
	if job.seg.repeat == 1 {
		_, _ = g.sink.Write(job.packed) // the sink keeps its error
		return
	}
	many := bytes.Repeat(job.packed, int(min(job.seg.repeat, copiesAtOnce)))
	for left := job.seg.repeat; left > 0 && g.sink.failed() == nil; {
		n := min(left, copiesAtOnce)
		if err := g.ctx.Err(); err != nil {
			g.sink.fail(err)
		}
		_, _ = g.sink.Write(many[:int(n)*len(job.packed)])
		left -= n
	}
}

// zeroChunk is the segment for a chunk of zeros, the same at every level.
var zeroChunk = sync.OnceValue(func() *segmentJob {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	j := &segmentJob{raw: make([]byte, chunkSize), seg: segment{kind: segZeros, raw: chunkSize, repeat: 1}}
	if err == nil {
		err = j.pack(w)
	}
	if err != nil {
		panic(err) // a buffer never fails
	}
	j.raw = nil
	return j
})
