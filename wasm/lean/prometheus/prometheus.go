// Package prometheus stands in for github.com/prometheus/client_golang/prometheus in a
// program that asks for no metrics: libp2p and core name theirs, and nothing counts.
package prometheus

// Collector has metrics.
type Collector interface {
	Describe(chan<- *Desc)
	Collect(chan<- Metric)
}

// Metric is a metric.
type Metric interface{ Desc() *Desc }

// Desc names a metric.
type Desc struct{}

func NewDesc(name, help string, variable []string, constant Labels) *Desc { return new(Desc) }

// Labels are values of labels.
type Labels map[string]string

// Registerer collects metrics. A program has none to give, for none would see any.
type Registerer interface {
	Register(Collector) error
	MustRegister(...Collector)
	Unregister(Collector) bool
}

type nobody struct{}

func (nobody) Register(Collector) error  { return nil }
func (nobody) MustRegister(...Collector) {}
func (nobody) Unregister(Collector) bool { return false }

// DefaultRegisterer takes all and shows nothing.
var DefaultRegisterer Registerer = nobody{}

func WrapRegistererWith(Labels, Registerer) Registerer { return nobody{} }

// AlreadyRegisteredError is returned by nothing here.
type AlreadyRegisteredError struct{ ExistingCollector, NewCollector Collector }

func (AlreadyRegisteredError) Error() string {
	return "duplicate metrics collector registration attempted"
}

// ValueType is the kind of a metric.
type ValueType int

const (
	CounterValue ValueType = iota + 1
	GaugeValue
)

type metric struct{}

func (metric) Desc() *Desc           { return new(Desc) }
func (metric) Describe(chan<- *Desc) {}
func (metric) Collect(chan<- Metric) {}
func (metric) Inc()                  {}
func (metric) Dec()                  {}
func (metric) Add(float64)           {}
func (metric) Sub(float64)           {}
func (metric) Set(float64)           {}
func (metric) Observe(float64)       {}

func MustNewConstMetric(*Desc, ValueType, float64, ...string) Metric { return metric{} }
func DescribeByCollect(Collector, chan<- *Desc)                      {}

type Opts struct {
	Namespace, Subsystem, Name, Help string
	ConstLabels                      Labels
}

type (
	CounterOpts   Opts
	GaugeOpts     Opts
	HistogramOpts struct {
		Namespace, Subsystem, Name, Help string
		ConstLabels                      Labels
		Buckets                          []float64
	}
)

type Counter interface {
	Metric
	Collector
	Inc()
	Add(float64)
}

type Gauge interface {
	Counter
	Set(float64)
	Dec()
	Sub(float64)
}

type Observer interface{ Observe(float64) }

type Histogram interface {
	Metric
	Collector
	Observer
}

type CounterVec struct{ metric }
type GaugeVec struct{ metric }
type HistogramVec struct{ metric }

func (*CounterVec) WithLabelValues(...string) Counter    { return metric{} }
func (*GaugeVec) WithLabelValues(...string) Gauge        { return metric{} }
func (*HistogramVec) WithLabelValues(...string) Observer { return metric{} }

func NewCounter(CounterOpts) Counter                            { return metric{} }
func NewCounterVec(CounterOpts, []string) *CounterVec           { return new(CounterVec) }
func NewGauge(GaugeOpts) Gauge                                  { return metric{} }
func NewGaugeVec(GaugeOpts, []string) *GaugeVec                 { return new(GaugeVec) }
func NewHistogram(HistogramOpts) Histogram                      { return metric{} }
func NewHistogramVec(HistogramOpts, []string) *HistogramVec     { return new(HistogramVec) }
func ExponentialBuckets(start, factor float64, n int) []float64 { return nil }
func LinearBuckets(start, width float64, n int) []float64       { return nil }
