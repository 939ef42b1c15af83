// Preloaded into Python: lets autograd run on fake CUDA tensors on a machine without a driver. PyTorch first
// registers its device guard while there are no devices; then `set_device_count` says that there is one.
static int num_devices = 0;
extern "C" void set_device_count(int count) { num_devices = count; }
namespace c10 { namespace cuda { signed char device_count() noexcept { return (signed char)num_devices; } } }
