// Starts a kernel that triton-ascend compiled, in MindSpore's order of execution.
//
// triton-ascend's own launcher allocates and queues through PyTorch. Here a PyboostRunner does both:
// MindSpore calls LaunchKernel when the inputs are allocated and everything before is in the stream.
// The arguments arrive as the bytes of the structure that the kernel reads, in which only addresses
// are still missing.
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "include/pynative/utils/pyboost/custom/pyboost_extension.h"
#include "pybind11/stl.h"
#include "runtime/runtime/rt.h"

namespace {

using Places = std::vector<int64_t>;  // offsets into the arguments, -1 for none

class Kernel final : public ms::pynative::PyboostRunner {
 public:
  Kernel(const std::string& name, uint64_t function, int64_t blocks, std::string arguments,
         Places tensors, Places own, int64_t workspace)
      : PyboostRunner(name),
        function_(function),
        blocks_(blocks),
        arguments_(std::move(arguments)),
        tensors_(std::move(tensors)),
        own_(std::move(own)),
        workspace_(workspace) {}

  size_t CalcWorkspace() override { return workspace_ * blocks_; }

  void LaunchKernel() override {
    if (own_.at(0) >= 0) {
      uint64_t sync = 0;
      uint32_t length = 0;
      check("rtGetC2cCtrlAddr", rtGetC2cCtrlAddr(&sync, &length));
      put(own_[0], reinterpret_cast<void*>(sync));
    }
    if (own_.at(1) >= 0 && workspace_ > 0) put(own_[1], workspace_ptr());
    for (size_t i = 0; i < tensors_.size(); ++i) put(tensors_[i], inputs().at(i).GetDataPtr());
    check("rtKernelLaunch",
          rtKernelLaunch(reinterpret_cast<void*>(function_), blocks_, arguments_.data(),
                         arguments_.size(), nullptr, stream()));
  }

 private:
  void put(int64_t place, const void* address) {
    if (place < 0 || place + sizeof address > arguments_.size())
      throw std::out_of_range(op_name() + ": an address lies outside the arguments");
    std::memcpy(&arguments_[place], &address, sizeof address);
  }

  void check(const char* call, rtError_t error) {
    if (error != RT_ERROR_NONE)
      throw std::runtime_error(op_name() + ": " + call + " returned " + std::to_string(error));
  }

  uint64_t function_;
  int64_t blocks_;
  std::string arguments_;
  Places tensors_, own_;
  int64_t workspace_;
};

void start(const std::string& name, const std::vector<ms::Tensor>& inputs, uint64_t function,
           int64_t blocks, const std::string& arguments, const Places& tensors, const Places& own,
           int64_t workspace) {
  std::make_shared<Kernel>(name, function, blocks, arguments, tensors, own, workspace)
      ->Run(inputs, {});
}

}  // namespace

PYBIND11_MODULE(MS_EXTENSION_NAME, module) {
  module.def("start", PYBOOST_CALLER_WITH_NAME(0, start, "scimind_triton"));
}
