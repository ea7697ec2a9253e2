// Included before cJSON: the small C library reads and writes floats only if somebody names the functions that do.
extern int _printf_float(void);
extern int _scanf_float(void);
__attribute__((used)) static int (*const floats[])(void) = {_printf_float, _scanf_float};
