// Kernels of several operators one after the other, as one operator. What it runs is text, its first
// argument, made by ops/tracing.py:
//
//   bytes of the memory between, number of steps, number of our arguments
//   for each step: file of the library, name of the kernel, number of arguments, and for each of
//   them dtype, place, number of axes and their sizes
//
// A place is p and the number of one of our arguments, with + and bytes from its begin on, a and bytes
// into the memory between, - for an optional argument that is absent, or s for the scalars, which are
// then written out.
#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "scimind/operator.h"
using namespace scimind;

namespace {

using Kernel = int (*)(int, void**, int*, int64_t**, const char**, void*, void*);

struct Argument {
  enum { kGiven, kBetween, kAbsent, kScalars } place;
  int64_t where = 0, offset = 0;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<double> scalars;
};

struct Step {
  Kernel kernel = nullptr;
  std::vector<Argument> arguments;
  std::vector<int> ndims;
  std::vector<int64_t*> shapes;
  std::vector<const char*> dtypes;
};

struct Program {
  int64_t bytes = 0;
  int count = 0;
  std::vector<Step> steps;
};

std::string line_of(std::istream& text) {
  std::string line;
  if (!std::getline(text, line)) throw std::runtime_error("the program ends early");
  return line;
}

Kernel kernel_of(const std::string& library, const std::string& name) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays open
  void* symbol = handle == nullptr ? nullptr : dlsym(handle, name.c_str());
  if (symbol == nullptr) throw std::runtime_error("no kernel " + name);
  return reinterpret_cast<Kernel>(symbol);
}

Argument argument_of(const std::string& line) {
  std::istringstream text(line);
  Argument argument;
  std::string place;
  size_t count = 0;
  text >> argument.dtype >> place >> count;
  if (!text) throw std::runtime_error("a line is no argument");
  if (place == "s") {
    argument.place = Argument::kScalars;
    std::string number;  // a stream reads no NaN
    while (text >> number) argument.scalars.push_back(std::strtod(number.c_str(), nullptr));
    argument.shape = {static_cast<int64_t>(count)};
    return argument;
  }
  argument.place = place[0] == 'p'   ? Argument::kGiven
                   : place[0] == 'a' ? Argument::kBetween
                                     : Argument::kAbsent;
  char* rest = nullptr;
  argument.where = std::strtoll(place.c_str() + 1, &rest, 10);
  if (*rest == '+') argument.offset = std::strtoll(rest + 1, nullptr, 10);
  argument.shape.resize(count);
  for (int64_t& size : argument.shape) text >> size;
  return argument;
}

std::unique_ptr<const Program> program_of(const std::string& written) {
  std::istringstream text(written);
  auto program = std::make_unique<Program>();
  size_t steps = 0;
  std::istringstream(line_of(text)) >> program->bytes >> steps >> program->count;
  program->steps.resize(steps);
  for (Step& step : program->steps) {
    const std::string library = line_of(text);
    step.kernel = kernel_of(library, line_of(text));
    const int count = std::atoi(line_of(text).c_str());
    for (int i = 0; i < count; ++i) step.arguments.push_back(argument_of(line_of(text)));
    for (Argument& argument : step.arguments) {
      step.ndims.push_back(static_cast<int>(argument.shape.size()));
      step.shapes.push_back(argument.shape.data());
      step.dtypes.push_back(argument.dtype.c_str());
    }
  }
  return program;
}

// The program of a text, read at its first call; never forgotten, as the graphs that have it.
const Program& known(const char* data, size_t size) {
  static std::mutex& mutex = *new std::mutex;
  static auto& programs = *new std::unordered_map<std::string, std::unique_ptr<const Program>>;
  thread_local const std::string* last_text = nullptr;
  thread_local const Program* last = nullptr;
  if (last != nullptr && last_text->size() == size && !std::memcmp(last_text->data(), data, size)) {
    return *last;
  }
  std::lock_guard<std::mutex> guard(mutex);
  const std::string text(data, size);
  auto found = programs.find(text);
  if (found == programs.end()) found = programs.emplace(text, program_of(text)).first;
  last_text = &found->first;
  last = found->second.get();
  return *last;
}

// The slot of memory that no kernel uses, which may share those of the same number.
constexpr int kBetween = 100;

int run(const Program& program, void** given) {
  char* memory = reinterpret_cast<char*>(scratch<kBetween>((program.bytes + 3) / 4));
  thread_local std::vector<void*> data;
  for (const Step& step : program.steps) {
    data.clear();
    for (const Argument& argument : step.arguments) {
      switch (argument.place) {
        case Argument::kGiven:
          data.push_back(static_cast<char*>(given[argument.where]) + argument.offset);
          break;
        case Argument::kBetween: data.push_back(memory + argument.where); break;
        case Argument::kAbsent: data.push_back(nullptr); break;
        case Argument::kScalars:
          data.push_back(const_cast<double*>(argument.scalars.data()));
          break;
      }
    }
    const int status =
        step.kernel(static_cast<int>(data.size()), data.data(), const_cast<int*>(step.ndims.data()),
                    const_cast<int64_t**>(step.shapes.data()),
                    const_cast<const char**>(step.dtypes.data()), nullptr, nullptr);
    if (status != 0) return status;
  }
  return 0;
}

}  // namespace

extern "C" int fused(int count, void** data, int* ndims, int64_t** shapes, const char**, void*,
                     void*) {
  if (count < 1) return kWrongCount;
  try {
    const auto size = static_cast<size_t>(elements(ndims[0], shapes[0]));
    const Program& program = known(static_cast<const char*>(data[0]), size);
    return count == program.count ? run(program, data) : kWrongCount;
  } catch (const std::exception&) {
    return kException;
  }
}

SCIMIND_OPERATOR(fused_sum, (In a, In b, Out out)) {
  over(out.size(), 1 << 14, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = a[i] + b[i];
  });
}

extern "C" int fused_copy(int count, void** data, int* ndims, int64_t** shapes,
                          const char** dtypes, void*, void*) {
  if (count != 2) return kWrongCount;
  const std::string dtype = dtypes[0];
  const size_t bytes = dtype == "bool" ? 1 : dtype == "float64" ? 8 : 4;
  const auto size = bytes * static_cast<size_t>(elements(ndims[0], shapes[0]));
  if (size > 0) std::memcpy(data[1], data[0], size);
  return 0;
}
